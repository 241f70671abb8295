"""What is known of a file that is on its way, in a small file beside its bytes, written at every piece.

It is not waited for: it tells the next worker what a killed one had written, and nothing after a loss of power. One
write puts all of it into one page of memory, so that a worker that is killed leaves the old text or the new one.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gallery.downloads.ranges import Ranges

_PAGE = 4096
_SUFFIX = ".ranges"


@dataclass
class Known:
    """`total` is bytes of the whole file, None while unknown; `pieces` counts the connections the bytes came by."""

    validator: str = ""
    total: int | None = None
    pieces: int = 0
    here: Ranges = field(default_factory=Ranges)


class Journal:
    """`path` is that of the bytes. All methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path.with_suffix(_SUFFIX), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def write(self, known: Known) -> None:
        os.pwrite(self._descriptor, _text(known), 0)

    def close(self) -> None:
        os.close(self._descriptor)


def read(path: Path) -> Known | None:
    """What the journal of the bytes at `path` says; None when there is none, or none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        line, end, _ = path.with_suffix(_SUFFIX).read_bytes().partition(b"\n")
        data = json.loads(line) if end else {}
        here = Ranges((int(start), int(stop)) for start, stop in data["here"])
        return Known(str(data["validator"]), data["total"], int(data["pieces"]), here)
    return None


def forget(path: Path) -> None:
    """From now on no byte at `path` counts. Raises OSError."""
    path.with_suffix(_SUFFIX).unlink(missing_ok=True)


def _text(known: Known) -> bytes:
    """The ranges that fit into a page, the long ones first: of the others the bytes are fetched again."""
    here = list(known.here)
    while True:
        data = {"validator": known.validator, "total": known.total, "pieces": known.pieces, "here": here}
        text = json.dumps(data, separators=(",", ":")).encode() + b"\n"
        if len(text) <= _PAGE or not here:
            return text
        here = sorted(sorted(here, key=lambda one: one[0] - one[1])[: len(here) * 3 // 4])
