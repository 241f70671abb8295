"""YAML from anywhere, read within limits into plain data, and written so that a diff stays small.

Scalars mean what they mean to LocalAI, whose reader follows YAML 1.2: `yes`, `on` and `1:30` are text, `1e-3` is a
number. Dates stay text. What is read is made of dict (keys are text), list, str, int, float, bool and None.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import yaml

from localai_admin.lib.yaml_limits import TOO_DEEP, Limits, YamlError

__all__ = ["YamlError", "dump", "load"]

#: Each costs another look at the whole text.
_ODD_ESCAPES = 20

Duplicates = Literal["error", "last"]


def load(text: str | bytes, *, max_bytes: int = 8 << 20, duplicate_keys: Duplicates = "error") -> Any:
    """The one document of the text, as plain data; None when there is nothing in it. Raises YamlError."""
    text = _decoded(text, max_bytes)
    loader = _Loader if duplicate_keys == "last" else _StrictLoader
    try:
        text = _checked(text)
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


def _checked(text: str) -> str:
    """The text after the pass over its events. LocalAI's reader knows the escape \\' and this one does not."""
    for _ in range(_ODD_ESCAPES):
        try:
            Limits().check(yaml.parse(text, Loader=yaml.CSafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            if mark is None or "escape" not in (error.problem or "") or text[mark.index : mark.index + 2] != "\\'":
                raise
            text = text[: mark.index] + text[mark.index + 1 :]
        else:
            return text
    raise YamlError(f"There are more than {_ODD_ESCAPES} of the escape \\' here; write ' without a backslash.")


def _sentence(problem: str) -> str:
    if "maximum nesting depth" in problem:
        return TOO_DEEP
    problem = problem.strip() or "this is not YAML"
    return problem[0].upper() + problem[1:] + ("" if problem.endswith((".", "!", "?")) else ".")


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
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
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
        raise YamlError(f"The value {text[:40]!r} is not a whole number.", node.start_mark.line + 1) from None
    if not -(2**63) <= value < 2**64:
        raise YamlError(
            f"The number {text[:40]} does not fit into 64 bits; quote it to make it a text.", node.start_mark.line + 1
        )
    return value


def _float(loader: _Loader, node: Any) -> float:
    text = _text(loader, node).replace("_", "").lower()
    try:
        value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise YamlError(f"The value {text[:40]!r} is not a number.", node.start_mark.line + 1) from None
    if not math.isfinite(value):
        raise YamlError(f"The number {text[:40]} is not finite.", node.start_mark.line + 1)
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
