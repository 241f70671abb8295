"""Who may change the models folder: one at a time, so that what was looked at still holds when it is acted upon."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()


@contextmanager
def changing() -> Iterator[None]:
    """For as long as it takes to look who uses a file, and to put files in place or take them away.

    A deletion must not take the file that an install has just found there. All of that is done by the threads of one
    process, this node's worker.
    """
    with _lock:
        yield
