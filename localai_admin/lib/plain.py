"""Values of plain data from somewhere else, as what they should be: nothing in place of anything else."""

import re
from collections.abc import Mapping
from typing import Any

#: A name and a password in an address; `ollama://model:8b@sha256:…` has none.
_PASSWORD = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*@(?!sha256:)")


def map_at(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def list_at(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


def without_passwords(text: str) -> str:
    """The text, with every address in it as it is without a name and a password."""
    return _PASSWORD.sub("", text)
