"""How long somebody stays signed in: as long as they do something, and never longer than the absolute limit."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest

_SINCE, _SEEN = "signed_in_at", "seen_at"
#: The last sign of life is written no more often than this. Seconds.
_WRITE_EVERY = 60


def begin(sender: Any, request: HttpRequest, **_: Any) -> None:
    """Note when a session began. Called at each sign-in, before the session is saved."""
    request.session[_SINCE] = request.session[_SEEN] = int(time.time())


def is_over(request: HttpRequest) -> bool:
    """Whether a session has been idle for too long, or there for too long. One that tells nothing is over."""
    now = time.time()
    since, seen = request.session.get(_SINCE, 0), request.session.get(_SEEN, 0)
    return bool(now - since > settings.SESSION_COOKIE_AGE or now - seen > settings.SESSION_IDLE_SECONDS)


def ends_at(request: HttpRequest) -> float:
    """When the session is over, in seconds since the epoch, if nobody does anything until then."""
    since, seen = request.session.get(_SINCE, 0), request.session.get(_SEEN, 0)
    return float(min(since + settings.SESSION_COOKIE_AGE, seen + settings.SESSION_IDLE_SECONDS))


def touch(request: HttpRequest) -> None:
    """Note that a person did something. A page that asks again by itself is nobody."""
    htmx = getattr(request, "htmx", None)
    if request.method == "GET" and htmx and not htmx.boosted:
        return
    now = int(time.time())
    if now - request.session.get(_SEEN, 0) >= _WRITE_EVERY:
        request.session[_SEEN] = now
