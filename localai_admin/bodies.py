"""Bodies of requests: small, and whole before a view begins, so that a slow client holds no worker."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponseBase
from django.http.request import UnreadablePostError

from localai_admin import errors
from team.throttling import client_address

#: The whole body has to be here by then. Seconds.
SECONDS = 10.0
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Places:
    """Places for those whose body is on its way; one address gets no more than half of them."""

    #: A body that comes with its headers, as they do, frees its place in a moment. Seconds.
    PATIENCE = 0.25

    def __init__(self, most: int) -> None:
        self._most, self._most_of_one = most, max(1, most // 2)
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, address: str) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_free(address), self.PATIENCE):
                return False
            self._taken[address] += 1
            return True

    def give_back(self, address: str) -> None:
        with self._changed:
            self._taken[address] -= 1
            self._taken += Counter()  # forgets those who have none
            self._changed.notify_all()

    def _is_free(self, address: str) -> bool:
        return self._taken.total() < self._most and self._taken[address] < self._most_of_one


def read_bodies(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Read the body before anything else looks at it: 413 when it is too large, 408 when it does not come."""
    places = Places(max(2, settings.WEB_THREADS // 2))

    def middleware(request: HttpRequest) -> HttpResponseBase:
        length = _announced(request)
        if length > (settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0):
            return errors.too_large(request)
        if not length or request.method not in _WITH_BODY:
            return get_response(request)
        address = client_address(request)
        if not places.take(address):
            return errors.busy(request)
        try:
            is_here = _read(request, SECONDS)
        finally:
            places.give_back(address)
        return get_response(request) if is_here else errors.too_slow(request)

    return middleware


def _announced(request: HttpRequest) -> int:
    """Bytes; 0 without a length, and then nothing is read."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _read(request: HttpRequest, seconds: float) -> bool:
    """Whether the body came in time. The reading cannot be interrupted; it ends when the connection does."""
    failed: list[Exception] = []

    def read() -> None:
        try:
            request.body  # noqa: B018 - reads it, and keeps it
        except (UnreadablePostError, RequestDataTooBig) as error:
            failed.append(error)

    thread = threading.Thread(target=read, name="body", daemon=True)
    started = time.monotonic()
    thread.start()
    thread.join(seconds)
    return not thread.is_alive() and not failed and time.monotonic() - started <= seconds + 1
