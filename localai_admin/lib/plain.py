"""Values of plain data from somewhere else, as what they should be: nothing in place of anything else."""

from collections.abc import Mapping
from typing import Any


def map_at(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def list_at(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []
