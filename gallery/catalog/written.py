"""What a person wrote or pasted, YAML or JSON, read within limits into plain data."""

import json
from collections.abc import Sequence
from typing import Any

from gallery.catalog import documents
from gallery.catalog.errors import ImportRefused
from localai_admin.lib import yaml
from localai_admin.lib.yaml_limits import MAX_DEPTH, TOO_DEEP

#: Of a text that is pasted, uploaded or lies on the server. Bytes.
MAX_BYTES = 1 << 20


def read(text: str | bytes, what: str) -> Any:
    """The plain data in `text`, which should be `what`; None for `null`. Raises ImportRefused, which names the line."""
    text = _decoded(text, what)
    if not text.strip():
        raise ImportRefused(f"There is nothing in it; {what} was expected.")
    if documents.is_page(text):
        raise ImportRefused(f"This is a web page instead of {what}.", "Use the address of the file itself.")
    looks_like_json = text.lstrip()[0] in "[{"
    try:
        if looks_like_json:
            return _json(text)
    except json.JSONDecodeError as error:
        problem = f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    except _TwiceSet as error:
        raise ImportRefused(f"The key {error.key!r} is set twice in one map.", "Keep one of the two.") from None
    except (ValueError, RecursionError):
        problem = "This JSON is nested too deep, or has a number that does not fit."
    try:
        return yaml.load(text, max_bytes=MAX_BYTES, duplicate_keys="error")
    except yaml.YamlError as error:
        raise ImportRefused(problem if looks_like_json else f"This is not {what}: {error}") from None


class _TwiceSet(Exception):
    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)


def _decoded(text: str | bytes, what: str) -> str:
    if len(text) > MAX_BYTES:
        raise ImportRefused(f"This is larger than {MAX_BYTES >> 20} MiB, which {what} never is.")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ImportRefused(f"This is no text in UTF-8, so it is not {what}.") from None
    if "\0" in text:
        raise ImportRefused(f"This is not a text, so it is not {what}.")
    return text.removeprefix("\ufeff")


def _json(text: str) -> Any:
    content = json.loads(text, object_pairs_hook=_map, parse_constant=_no_number)
    level: Sequence[Any] = [content]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level if isinstance(item, dict | list) for inner in _inside(item)]
        if not level:
            return content
    raise ImportRefused(TOO_DEEP)


def _inside(item: dict[str, Any] | list[Any]) -> Sequence[Any]:
    return list(item.values()) if isinstance(item, dict) else item


def _map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceSet(key)
        found[key] = value
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")
