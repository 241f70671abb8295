"""Short questions to other hosts while a person waits: few at a time, and never for longer than a moment.

The page has its answer in time whatever the other side does; what still hangs keeps its place until it has ended, so
that no number of requests makes more than `PLACES` threads of it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from gallery.hub.errors import Unreachable
from localai_admin.lib.net import Timeouts

#: A person waits so long, and so many may wait at a time in one process. Seconds.
SECONDS = 8.0
PLACES = 2
#: Each must be shorter than a person waits, so that what was given up ends soon after.
TIMEOUTS = Timeouts(connect=4, header=6, stall=6)

T = TypeVar("T")
_places = threading.BoundedSemaphore(PLACES)


def ask(question: Callable[[], T], whom: str, seconds: float = SECONDS) -> T:
    """What the question answers, or whatever it raises. It must not touch the database.

    Raises Unreachable when there is no place for it, or no answer in time.
    """
    if not _places.acquire(blocking=False):
        raise Unreachable(f"{whom} was not asked: {PLACES} other questions are on their way.")
    answer: Future[T] = Future()
    threading.Thread(target=_work, args=(question, answer), name="outside", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise Unreachable(f"{whom} did not answer within {seconds:.0f} s.") from None


def _work(question: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:
        answer.set_exception(error)
    finally:
        _places.release()
