"""What a configuration may hold and a page must not show."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(not shown)"

_SECRET = re.compile(r"(^|[_-])(token|secret|password|passwd|api[_-]?key|credentials?|authorization)$", re.IGNORECASE)


def masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration in which the values of keys that name a secret are hidden, at every depth."""
    return {key: HIDDEN if value and _SECRET.search(str(key)) else _inside(value) for key, value in data.items()}


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    return [_inside(item) for item in value] if isinstance(value, list) else value
