"""What tells two states of an entry apart."""

import json
from hashlib import sha256
from typing import Any

from gallery.catalog.entries import CatalogEntry


def entry_digest(entry: CatalogEntry) -> str:
    """SHA-256 of what installing the entry depends on, as 64 hexadecimal digits.

    That is its name, files, overrides and recipe's address, or without one its configuration. A new description,
    icon, tag or licence leaves it as it is, and so does another order of keys. The same for an entry as it was read
    and as it comes back from a database.
    """
    depends_on = {
        "name": entry.name,
        "url": entry.url,
        "config_file": None if entry.url else entry.config_file,
        "overrides": entry.overrides,
        "files": [[file.filename, file.sha256, file.uri] for file in entry.files],
    }
    return sha256(_canonical(depends_on).encode()).hexdigest()


def _canonical(data: Any) -> str:
    """One text for equal data. The detour makes every key a text, and gives a whole number one way to be written."""
    plain = json.loads(json.dumps(data, default=str), parse_float=_number)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number
