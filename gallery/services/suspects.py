"""Files that came with another digest than the gallery says: kept aside, where nothing serves them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from gallery.disk.walk import Found
from localai_admin.lib.files import read_small

#: What was expected, beside the bytes.
NOTE = ".json"
_NOTE_BYTES = 64 << 10


@dataclass(frozen=True)
class Suspect:
    """`name` is its place in the models folder; `expected` and `got` are digests, empty where they are not known."""

    name: str
    filename: str
    size: int
    at: datetime
    uri: str = ""
    expected: str = ""
    got: str = ""


def listed(found: Iterable[Found]) -> list[Suspect]:
    """The last one first."""
    files = {file.name: file for file in found}
    notes = {name for name in files if name.endswith(NOTE) and name.removesuffix(NOTE) in files}
    rows = [_suspect(file, f"{name}{NOTE}" in notes) for name, file in files.items() if name not in notes]
    return sorted(rows, key=lambda row: row.at, reverse=True)


def _suspect(file: Found, has_note: bool) -> Suspect:
    note = _read(f"{file.name}{NOTE}") if has_note else {}
    got, _, name = file.name.rpartition("/")[2].partition("-")
    at = datetime.fromtimestamp(file.mtime_ns / 1e9, UTC)
    return Suspect(
        file.name,
        note.get("filename", name),
        file.size,
        at,
        note.get("uri", ""),
        note.get("expected", ""),
        note.get("got", f"{got}…"),
    )


def _read(name: str) -> dict[str, str]:
    try:
        content = json.loads(read_small(Path(settings.MODELS_PATH) / name, _NOTE_BYTES, Path(settings.MODELS_PATH)))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str)}
