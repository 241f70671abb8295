"""SHA-256 of large files, read so that the work can be stopped."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

CHUNK = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}")


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def new() -> Hasher:
    return hashlib.sha256()


def feed(hasher: Hasher, path: Path, tick: Callable[[int], None]) -> int:
    """Read a whole file into the hasher and return its size; `tick` gets the bytes of each piece, and may raise."""
    size = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(CHUNK):
            hasher.update(piece)
            size += len(piece)
            tick(len(piece))
    return size


def of(path: Path, tick: Callable[[int], None]) -> str:
    """The digest of a whole file; `tick` as in `feed`. Raises OSError."""
    hasher = new()
    feed(hasher, path, tick)
    return hasher.hexdigest()


def second_name(path: Path, new: Path, tick: Callable[[int], None]) -> bool:
    """Make `new` the same file as `path`, or a copy of it where that cannot be; returns whether there is such a file.

    `tick` as in `feed`. Raises OSError.
    """
    try:
        path = path.resolve(strict=True)
    except FileNotFoundError:
        return False
    if not path.is_file():
        return False
    try:
        os.link(path, new)
    except OSError:
        _copy(path, new, tick)
    return True


def _copy(path: Path, to: Path, tick: Callable[[int], None]) -> None:
    with path.open("rb", buffering=0) as source, to.open("xb", buffering=0) as target:
        while piece := source.read(CHUNK):
            view = memoryview(piece)
            while view:
                view = view[target.write(view) :]
            tick(len(piece))
        os.fsync(target.fileno())


def normal(sha256: str) -> str:
    """The digest as 64 small hex digits; empty for none. Raises ValueError when it is something else."""
    text = sha256.strip().lower().removeprefix("sha256:")
    if text and not _HEX.fullmatch(text):
        raise ValueError(f"{sha256[:100]!r} is no SHA-256: it takes 64 hexadecimal digits.")
    return text
