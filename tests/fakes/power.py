"""What a machine that went off leaves of downloads: nothing that had not been waited for."""

import json
from pathlib import Path

from gallery.downloads.ranges import Ranges


def lose(models: Path) -> int:
    """Zeros where bytes were written and not waited for, of every job, and another start of the machine.

    Returns how many bytes that were. Only when nobody is at work in the folder.
    """
    return sum(_lose(kept) for kept in models.glob(".ingest/*/state.json"))


def _lose(kept: Path) -> int:
    state = json.loads(kept.read_text())
    lost = sum(
        _zero(kept.parent / file["part"], file["synced"]) for file in state["files"].values() if not _is_safe(file)
    )
    kept.write_text(json.dumps(state | {"boot": "before the power went"}))
    return lost


def _is_safe(file: dict[str, object]) -> bool:
    """Whole, and on the disk before that was noted."""
    return bool(file["verified"])


def _zero(part: Path, synced: list[list[int]]) -> int:
    if not part.exists():
        return 0
    gaps = Ranges((start, end) for start, end in synced).gaps(part.stat().st_size)
    with part.open("r+b") as opened:
        for start, end in gaps:
            opened.seek(start)
            opened.write(b"\0" * (end - start))
    return sum(end - start for start, end in gaps)
