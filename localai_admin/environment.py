"""Typed readers of environment variables: a default when unset, a sentence when the value is no good."""

import json
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

_LIST = 'Write a list such as [{"name": "mine", "url": "https://example.org/index.yaml"}], or unset it.'


def text(*names: str, default: str = "") -> str:
    """The first of the names that is set and not empty."""
    for name in names:
        if value := os.environ.get(name, "").strip():
            return value
    return default


def flag(*names: str, default: bool = False) -> bool:
    value = text(*names).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{names[0]} is {value!r}; it takes true or false.")


def number(*names: str, default: int, low: int = 0, high: int = 2**63 - 1) -> int:
    value = text(*names)
    if not value:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{names[0]} is {value!r}; it takes a whole number.") from None
    if not low <= parsed <= high:
        raise ImproperlyConfigured(f"{names[0]} is {parsed}; it must be from {low} to {high}.")
    return parsed


def choice(*names: str, of: tuple[str, ...], default: str) -> str:
    value = text(*names, default=default).lower()
    if value not in of:
        raise ImproperlyConfigured(f"{names[0]} is {value!r}; it takes {', '.join(of[:-1])} or {of[-1]}.")
    return value


def path(*names: str, default: Path) -> Path:
    value = text(*names)
    return Path(value).expanduser().absolute() if value else default


def words(*names: str, default: tuple[str, ...] = ()) -> list[str]:
    """A list separated by commas."""
    value = text(*names)
    return [word.strip() for word in value.split(",") if word.strip()] if value else list(default)


def json_list(*names: str, default: list[Any]) -> list[Any]:
    value = text(*names)
    if not value:
        return default
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"{names[0]} is not JSON: {str(error)[:200]}. {_LIST}") from None
    if not isinstance(parsed, list):
        raise ImproperlyConfigured(f"{names[0]} must be a JSON list. {_LIST}")
    return parsed


def json_texts(*names: str, example: str) -> dict[str, str]:
    """A JSON map from texts to texts. What is wrong is said without the values: they may be secrets."""
    value = text(*names)
    if not value:
        return {}
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not all(isinstance(item, str) for item in parsed.values()):
        raise ImproperlyConfigured(f"{names[0]} must be a JSON map of texts, such as {example}; unset it for none.")
    return parsed
