"""Questions to other machines, side by side, none of them waited for longer than all of them may take."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import ParamSpec, TypeVar

from gallery.downloads.errors import Network

P = ParamSpec("P")
T = TypeVar("T")

#: So many questions are asked at a time.
AT_ONCE = 8


class NotInTime(Network):
    """What was asked for did not come while it was waited for."""

    cause = "not_in_time"
    action = "The server is slow just now. Try again."


class Asking:
    """For as long as the block lasts, and no longer than so many seconds. Nothing asked here may use the database."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="asking")

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        # A question that still hangs ends by its own deadline; nobody waits for it here.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._pool.submit(question, *args, **kwargs)

    def answer(self, asked: Future[T], what: str) -> T:
        """The answer; whatever the question raises; NotInTime, whose sentence names `what`, when time is up."""
        try:
            return asked.result(max(0.0, self._end - monotonic()))
        except TimeoutError:
            raise NotInTime(f"{what} did not come in time.") from None
