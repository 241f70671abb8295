"""The log files of backends: where they are, how they are rotated, how their end is read."""

import hashlib
import logging
import os
from pathlib import Path
from urllib.parse import quote

log = logging.getLogger(__name__)

#: A log that grows past this is cut while its backend runs.
LIMIT = 64 << 20
_LONGEST_NAME = 180
_FIRST_FAILURE = ".first-failure"
_BLOCK = 64 << 10


def log_path(folder: Path, name: str) -> Path:
    """The log of a model. The name is quoted, so that no name leaves the folder and no two share a file."""
    safe = quote(name, safe=" ").replace(_FIRST_FAILURE, _FIRST_FAILURE.replace(".", "%2E"))
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if len(safe) > _LONGEST_NAME:
        safe = safe[:_LONGEST_NAME] + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]
    return folder / f"{safe}.log"


def previous_path(path: Path) -> Path:
    """The log of the run before."""
    return path.with_name(path.name + ".1")


def first_failure_path(path: Path) -> Path:
    """The log of the first failure since the last good run: the one that says why, before the retries bury it."""
    return path.with_name(f"{path.name.removesuffix('.log')}{_FIRST_FAILURE}.log")


def rotate(path: Path) -> None:
    """Put the log of the last run aside, for a new run. Raises OSError when the folder cannot be written to."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.exists():
        path.replace(previous_path(path))


def keep_first_failure(path: Path) -> None:
    """Keep the log of a run that failed. A link costs nothing and outlives the rotations."""
    kept = first_failure_path(path)
    try:
        kept.unlink(missing_ok=True)
        os.link(path, kept)
    except FileNotFoundError:
        return  # It never came to a log.
    except OSError as error:
        log.warning("The log %s of a failed start could not be kept: %s.", path.name, error.strerror)


def shorten(path: Path, limit: int = LIMIT) -> bool:
    """Cut a log that has grown over the limit: its last block is kept as the previous log. True when it was cut.

    The backend writes in append mode, so it goes on at the new end.
    """
    try:
        if path.stat().st_size <= limit:
            return False
        previous_path(path).write_bytes(_end(path, 1 << 20))
        os.truncate(path, 0)
    except OSError as error:
        log.warning("The log %s could not be cut: %s.", path.name, error.strerror)
        return False
    return True


def tail(path: Path, lines: int = 200, max_bytes: int = 256 << 10) -> list[str]:
    """The last lines, oldest first, from at most the last `max_bytes` of the file; empty without a file.

    Bytes that are no UTF-8 become the replacement character. The first line is left out when only its end was read.
    """
    if lines <= 0:
        return []
    try:
        size = path.stat().st_size
        data = _end(path, max_bytes)
    except OSError:
        return []
    found = _lines(data)
    if len(data) < size and len(found) > 1:
        found = found[1:]
    return found[-lines:]


def last_line(path: Path, longest: int = 300) -> str:
    """The last line that is not blank, for a sentence that says why a backend failed; empty without one."""
    written = [line.strip() for line in tail(path, 50, _BLOCK) if line.strip()]
    return _shortened(written[-1], longest) if written else ""


def _shortened(line: str, longest: int) -> str:
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _end(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - max_bytes))
        return file.read(max_bytes)


def _lines(data: bytes) -> list[str]:
    """Only newlines end a line; of a progress bar, which goes back with \\r, the last state stays."""
    text = data.decode("utf-8", "replace")
    rows = text.split("\n")
    if rows and not rows[-1]:
        rows.pop()
    return [row.rstrip("\r").rpartition("\r")[2] for row in rows]
