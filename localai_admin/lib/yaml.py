"""YAML from anywhere, read within limits into plain data, and written so that a diff stays small.

Scalars mean what they mean to LocalAI, whose reader follows YAML 1.2: `yes`, `on` and `1:30` are text, `1e-3` is a
number. Dates stay text. What is read is made of dict (keys are text), list, str, int, float, bool and None.
"""

import math
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import yaml

MAX_DEPTH = 64
MAX_NODES = 4_000_000
#: Nodes that aliases and merge keys stand for: what a small file can make large.
MAX_EXPANSION = 250_000
#: Text that weighs as much as one node.
_TEXT_OF_A_NODE = 256

Duplicates = Literal["error", "last"]


class YamlError(ValueError):
    """The text is not YAML that this console reads. A retry does not help: the text has to change.

    `line` counts from 1, and is None where no line is to blame. The text of the error is a sentence for a person.
    """

    def __init__(self, why: str, line: int | None = None) -> None:
        self.why = why
        self.line = line
        super().__init__(f"Line {line}: {why}" if line else why)


def load(text: str | bytes, *, max_bytes: int = 8 << 20, duplicate_keys: Duplicates = "error") -> Any:
    """The one document of the text, as plain data; None when there is nothing in it. Raises YamlError."""
    text = _decoded(text, max_bytes)
    loader = _Loader if duplicate_keys == "last" else _StrictLoader
    try:
        _Limits().check(yaml.parse(text, Loader=yaml.CSafeLoader))
        return yaml.load(text, Loader=loader)  # noqa: S506  (both are subclasses of the safe loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(_sentence(error.problem or error.context or ""), mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise YamlError(_sentence(str(error).splitlines()[0])) from None


def dump(data: Any) -> str:
    """Block style, keys in the order of the maps, texts of several lines as blocks, no aliases."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=10_000
    )
    return text


def _decoded(text: str | bytes, max_bytes: int) -> str:
    # A character has at least one byte, so a long str need not be encoded to be refused.
    size = len(text)
    if size > max_bytes:
        raise YamlError(f"The text is longer than {max_bytes:,} bytes; make it smaller.")
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError("This is not text in UTF-8; save it as UTF-8.", text.count(b"\n", 0, error.start) + 1) from None


def _sentence(problem: str) -> str:
    problem = problem.strip() or "this is not YAML"
    return problem[0].upper() + problem[1:] + ("" if problem.endswith((".", "!", "?")) else ".")


# --- Limits ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A map, a list or a scalar that is being read: what it weighs, and how deep it goes below itself."""

    anchor: str | None
    weight: int = 1
    height: int = 0


class _Limits:
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
            raise YamlError(f"Lists and maps are nested deeper than {MAX_DEPTH} levels here.", line)

    _HANDLERS: ClassVar[dict[type[yaml.Event], Callable[["_Limits", Any, int | None], None]]] = {
        yaml.DocumentStartEvent: _document,
        yaml.MappingStartEvent: _begins,
        yaml.SequenceStartEvent: _begins,
        yaml.MappingEndEvent: _ends,
        yaml.SequenceEndEvent: _ends,
        yaml.ScalarEvent: _scalar,
        yaml.AliasEvent: _alias,
    }


# --- Reading --------------------------------------------------------------------------------------------------------

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_RESOLVERS = [
    (_TAG + "bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_TAG + "null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_TAG + "int", r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    (_TAG + "float", r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    (_TAG + "float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    (_MERGE, r"<<", "<"),
]


class _Loader(yaml.CSafeLoader):
    """Plain types only; the last of several equal keys wins."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}
    yaml_constructors: dict[Any, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        return {_key(key): self.construct_object(value, deep=deep) for key, value in node.value}


class _StrictLoader(_Loader):
    """A key that is written twice in one map is an error; one that a merge key brings along is not."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._seen: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # The first call sees the keys as written: afterwards those of the merged maps are among them.
        if id(node) not in self._seen:
            self._seen.add(id(node))
            _refuse_duplicates(node)
        super().flatten_mapping(node)


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        key, line = _key(key_node), key_node.start_mark.line + 1
        if key in lines:
            raise YamlError(f"The key {key!r} was already set on line {lines[key]}; keep one of the two.", line)
        lines[key] = line


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise YamlError("A key must be a text, not a list or a map.", node.start_mark.line + 1)
    return str(node.value)


def _map(loader: _Loader, node: Any) -> Iterator[dict[str, Any]]:
    _must_be(yaml.MappingNode, node, "a map")
    data: dict[str, Any] = {}
    yield data
    data.update(loader.construct_mapping(node))


def _list(loader: _Loader, node: Any) -> Iterator[list[Any]]:
    _must_be(yaml.SequenceNode, node, "a list")
    data: list[Any] = []
    yield data
    data.extend(loader.construct_sequence(node))


def _text(_loader: _Loader, node: Any) -> str:
    _must_be(yaml.ScalarNode, node, "a text")
    return str(node.value)


def _null(loader: _Loader, node: Any) -> None:
    _text(loader, node)


def _bool(loader: _Loader, node: Any) -> bool:
    return _text(loader, node).lower() == "true"


def _int(loader: _Loader, node: Any) -> int:
    text = _text(loader, node).replace("_", "").lower()
    digits = text.lstrip("+-")
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits[:1] == "0" and digits != "0" else 10)
    try:
        value = int(text, base)
    except ValueError:
        raise YamlError(f"{text[:40]!r} is not a whole number.", node.start_mark.line + 1) from None
    if not -(2**63) <= value < 2**64:
        raise YamlError(f"{text[:40]} does not fit into 64 bits; quote it if it is a text.", node.start_mark.line + 1)
    return value


def _float(loader: _Loader, node: Any) -> float:
    text = _text(loader, node).replace("_", "").lower()
    try:
        value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise YamlError(f"{text[:40]!r} is not a number.", node.start_mark.line + 1) from None
    if not math.isfinite(value):
        raise YamlError(f"{text[:40]} is not a finite number.", node.start_mark.line + 1)
    return value


def _unknown(_loader: _Loader, node: Any) -> None:
    raise YamlError(f"The tag {node.tag!r} is not read here; use plain values.", node.start_mark.line + 1)


def _must_be(kind: type[yaml.Node], node: yaml.Node, name: str) -> None:
    if not isinstance(node, kind):
        raise YamlError(f"The tag {node.tag!r} says this is {name}, but it is not.", node.start_mark.line + 1)


for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))
for _name, _constructor in {
    "map": _map, "seq": _list, "str": _text, "null": _null, "bool": _bool, "int": _int, "float": _float,
    "timestamp": _text, "merge": _text,
}.items():  # fmt: skip
    _Loader.add_constructor(_TAG + _name, _constructor)
_Loader.add_constructor(None, _unknown)


# --- Writing --------------------------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Quotes what either this reader or one of YAML 1.1 would take for something else than a text."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {
        first: list(resolvers) for first, resolvers in yaml.CSafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    block = "\n" in text and text[0] not in " \t\n" and not re.search(r"[ \t]\n|[ \t]\Z|[\r\x85\u2028\u2029]", text)
    return dumper.represent_scalar(_TAG + "str", text, style="|" if block else None)


for _tag, _pattern, _first in _RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Dumper.add_representer(str, _represent_text)
