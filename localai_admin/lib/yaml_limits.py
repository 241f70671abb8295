"""How much a YAML text may hold: looked at in one pass over its events, before anything is built of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

MAX_DEPTH = 64
MAX_NODES = 4_000_000
#: Nodes that aliases and merge keys stand for: what a small file can make large.
MAX_EXPANSION = 250_000
TOO_DEEP = f"Lists and maps are nested deeper than {MAX_DEPTH} levels here; use fewer."
#: Text that weighs as much as one node.
_TEXT_OF_A_NODE = 256


class YamlError(ValueError):
    """The text is not YAML that this console reads. A retry does not help: the text has to change.

    `line` counts from 1, and is None where no line is to blame. The text of the error is a sentence for a person.
    """

    def __init__(self, why: str, line: int | None = None) -> None:
        self.why = why
        self.line = line
        super().__init__(f"Line {line}: {why}" if line else why)


@dataclass(slots=True)
class _Open:
    """A map, a list or a scalar that is being read: what it weighs, and how deep it goes below itself."""

    anchor: str | None
    weight: int = 1
    height: int = 0


class Limits:
    """One pass over the events, before anything is built: neither a bomb nor a tower gets further than this."""

    def __init__(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Open] = {}
        self.nodes = self.expansion = self.documents = 0

    def check(self, events: Iterator[yaml.Event]) -> None:
        for event in events:
            handler = self._HANDLERS.get(type(event))
            if handler:
                line = event.start_mark.line + 1 if event.start_mark else None
                handler(self, event, line)

    def _document(self, _event: yaml.Event, line: int | None) -> None:
        self.documents += 1
        self.anchors = {}
        if self.documents > 1:
            raise YamlError("There is a second document here; only one is read. Remove the line with ---.", line)

    def _begins(self, event: Any, line: int | None) -> None:
        self._count(1, line)
        self.stack.append(_Open(event.anchor))
        self._check_depth(0, line)

    def _ends(self, _event: yaml.Event, _line: int | None) -> None:
        self._close(self.stack.pop())

    def _scalar(self, event: Any, line: int | None) -> None:
        weight = 1 + len(event.value) // _TEXT_OF_A_NODE
        self._count(weight, line)
        self._close(_Open(event.anchor, weight))

    def _alias(self, event: Any, line: int | None) -> None:
        if any(node.anchor == event.anchor for node in self.stack):
            raise YamlError(f"The alias *{event.anchor} contains itself; write its value out.", line)
        meant = self.anchors.get(event.anchor)
        if meant is None:
            raise YamlError(f"The alias *{event.anchor} has no anchor &{event.anchor} before it.", line)
        self.expansion += meant.weight
        if self.expansion > MAX_EXPANSION:
            raise YamlError(f"Aliases here stand for more than {MAX_EXPANSION:,} values; use fewer.", line)
        self._check_depth(meant.height, line)
        self._close(_Open(None, meant.weight, meant.height))

    def _close(self, node: _Open) -> None:
        if node.anchor:
            self.anchors[node.anchor] = node
        if self.stack:
            above = self.stack[-1]
            above.weight += node.weight
            above.height = max(above.height, node.height + 1)

    def _count(self, weight: int, line: int | None) -> None:
        self.nodes += weight
        if self.nodes > MAX_NODES:
            raise YamlError(f"There are more than {MAX_NODES:,} values here; make it smaller.", line)

    def _check_depth(self, below: int, line: int | None) -> None:
        if len(self.stack) + below > MAX_DEPTH:
            raise YamlError(TOO_DEEP, line)

    _HANDLERS: ClassVar[dict[type[yaml.Event], Callable[["Limits", Any, int | None], None]]] = {
        yaml.DocumentStartEvent: _document,
        yaml.MappingStartEvent: _begins,
        yaml.SequenceStartEvent: _begins,
        yaml.MappingEndEvent: _ends,
        yaml.SequenceEndEvent: _ends,
        yaml.ScalarEvent: _scalar,
        yaml.AliasEvent: _alias,
    }
