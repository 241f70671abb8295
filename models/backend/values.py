"""Values out of a configuration, each of the kind that is asked for, or ConfigInvalid with a sentence that names it.

A key with dots leads through nested maps. A value that is missing or null counts as not said.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from models.configs import ConfigInvalid

_INT32 = 2**31 - 1


def text(config: Mapping[str, Any], key: str) -> str:
    """A number is fine where a text is asked for: somebody forgot its quotes."""
    value = find(config, key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigInvalid(f"{key} is {value!r}; it must be a text.")
    return str(value)


def number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = find(config, key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigInvalid(f"{key} is {value!r}; it must be a number, such as {default}.")
    return float(value)


def count(config: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number that fits 32 bits; YAML writers often say 2048.0."""
    value = number(config, key, default)
    if value != int(value) or abs(value) > _INT32:
        raise ConfigInvalid(f"{key} is {value:g}; it must be a whole number below {_INT32}.")
    return int(value)


def positive(config: Mapping[str, Any], key: str, default: int) -> int:
    """The default as well where it says 0 or less, which LocalAI takes for not said."""
    value = count(config, key, default)
    return value if value > 0 else default


def switch(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = find(config, key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigInvalid(f"{key} is {value!r}; it must be true or false.")
    return value


def texts(config: Mapping[str, Any], key: str) -> list[str]:
    value = find(config, key)
    items = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(item, str | int | float) for item in items):
        raise ConfigInvalid(f"{key} is {value!r}; it must be a list of texts.")
    return [str(item) for item in items]


def numbers(config: Mapping[str, Any], key: str) -> list[float]:
    value = find(config, key)
    items = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
        raise ConfigInvalid(f"{key} is {value!r}; it must be a list of numbers.")
    return [float(item) for item in items]


def as_json(config: Mapping[str, Any], key: str) -> str:
    """Whatever is there, as JSON; nothing when nothing is there."""
    value = find(config, key)
    if not value:
        return ""
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ConfigInvalid(f"{key} holds something that JSON cannot say ({error}); use plain values.") from error


def find(config: Mapping[str, Any], key: str) -> Any:
    """The value, or None. Raises ConfigInvalid where the way to it is no map."""
    value: Any = config
    for part in key.split("."):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise ConfigInvalid(f"{key.rpartition('.')[0]} is {value!r}; it must be a map of settings.")
        value = value.get(part)
    return value
