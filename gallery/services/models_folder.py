"""Who may change the models folder: one at a time, so that what was looked at still holds when it is acted upon."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep

from django.conf import settings

from gallery.downloads.faults import local_faults
from gallery.services.errors import FolderBusy

#: Between two looks whether it is free. Seconds.
_LOOK = 0.05

_lock = Lock()


@contextmanager
def changing(seconds: float | None = None) -> Iterator[None]:
    """For as long as it takes to look who uses a file, and to put files in place or take them away.

    A deletion must not take the file that an install has just found there. The worker's threads do most of that, and
    wait for their turn; a page that takes a single file away waits for `seconds` at most, and then raises FolderBusy.
    Whoever dies lets go. Raises DownloadError when the data folder cannot be written to.
    """
    deadline = None if seconds is None else monotonic() + seconds
    if not _lock.acquire(timeout=-1 if seconds is None else seconds):
        raise _busy()
    try:
        descriptor = _opened()
        try:
            _take(descriptor, deadline)
            yield
        finally:
            os.close(descriptor)
    finally:
        _lock.release()


def _take(descriptor: int, deadline: float | None) -> None:
    if deadline is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while not _taken(descriptor):
        if monotonic() >= deadline:
            raise _busy()
        sleep(_LOOK)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened() -> int:
    """Beside the console's own data: the models folder may be one that others look into."""
    folder: Path = settings.DATA / "run"
    with local_faults(f"The folder {folder}", where=folder):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        return os.open(folder / "models-folder.lock", os.O_RDWR | os.O_CREAT, 0o640)


def _busy() -> FolderBusy:
    return FolderBusy("Files are being put in place just now.", "Try again in a moment.")
