"""Pages that ask again by themselves: what they have seen, how soon they ask again, and one answer for many of them.

A live part of a page has a version: a digest of everything it shows. Its address carries the version that was seen, as
`v`; the same version is answered with "nothing changed". Versions are compared for being equal and never for which is
later, so that no order of clocks and commits can hide a change.
"""

import gzip
import hashlib
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from django.http import HttpRequest, HttpResponse

from localai_admin.lib import htmx

SEEN = "v"
#: Polls a second that one process is asked for, at most; with more pages open than that, each asks less often.
POLLS_A_SECOND = 80
LONGEST_PACE = 15.0
#: What is shown beside every page gives way to the page itself: then it asks this much less often.
BESIDE = 2
#: A page that has not asked for so long is closed. Seconds.
CLOSED_AFTER = 30.0
#: One answer is given to all for so long, at least; and for this part of the time between two polls.
FRESH, FRESH_PART = 1.0, 0.4
_MOST_ANSWERS = 500
#: Enough for a page's text; what is saved beyond costs more than it is worth.
_GZIP_LEVEL = 4


def version_of(*shown: Any) -> str:
    """A short digest of all that a live part shows, or of what that is made from."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:20]


def has_seen(request: HttpRequest, version: str) -> bool:
    """Whether a part is asked for by a page that shows this version already."""
    return htmx.wants_part(request) and request.GET.get(SEEN) == version


def versioned(response: HttpResponse, version: str) -> HttpResponse:
    """Say that the answer holds for everybody with the same permissions, and what version it is of."""
    response.shared_version = version  # type: ignore[attr-defined]  # read by the middleware that shares it
    return response


@dataclass(frozen=True)
class Answer:
    """A live part as it was a moment ago. The body is None while only its version is known."""

    version: str
    made_at: float
    match: Any
    body: bytes | None = None
    packed: bytes = b""

    def response(self, seen: str, takes_gzip: bool) -> HttpResponse | None:
        """The answer for a page that has seen a version; None when it has to be made."""
        if seen == self.version:
            return htmx.unchanged()
        if self.body is None:
            return None
        response = HttpResponse(self.packed if takes_gzip else self.body)
        if takes_gzip:
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.content))
        response.headers["Vary"] = "Accept-Encoding, HX-Request, HX-Boosted"
        return response


class Polls:
    """The answers of this process to its pages, and how many of those are open. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._answers: dict[Hashable, Answer] = {}
        self._making: dict[Hashable, Lock] = {}
        self._open: dict[Hashable, float] = {}
        self._looked_at = clock()

    def note(self, page: Hashable) -> None:
        """A part of an open page asked."""
        now = self._clock()
        with self._lock:
            self._open[page] = now
            if now - self._looked_at > 1.0:
                self._looked_at = now
                self._open = {key: at for key, at in self._open.items() if now - at < CLOSED_AFTER}

    def pace(self, seconds: float, beside: bool = False) -> float:
        """Seconds until a page should ask again: as often as is good, or less often when many are open."""
        crowded = len(self._open) / POLLS_A_SECOND * (BESIDE if beside else 1)
        return max(seconds, min(round(crowded, 1), LONGEST_PACE))

    def get(self, key: Hashable) -> Answer | None:
        """The answer, if it is fresh."""
        answer = self._answers.get(key)
        fresh = max(FRESH, self.pace(0) * FRESH_PART)
        return answer if answer and self._clock() - answer.made_at < fresh else None

    def keep(self, key: Hashable, response: HttpResponse, asked_at: float, match: Any) -> None:
        """Keep the answer of a view that called it versioned. It is as old as the question."""
        version = getattr(response, "shared_version", "")
        if not version or response.status_code not in (200, 204):
            return
        answer = Answer(version, asked_at, match)
        before = self._answers.get(key)
        if response.status_code == 200:
            answer = replace(answer, body=response.content, packed=gzip.compress(response.content, _GZIP_LEVEL))
        elif before and before.version == version:
            answer = replace(answer, body=before.body, packed=before.packed)
        with self._lock:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = answer

    @contextmanager
    def alone(self, key: Hashable) -> Iterator[float]:
        """One at a time makes the answer of a key; the others wait, and find it made. Gives the question's time."""
        with self._lock:
            if len(self._making) >= _MOST_ANSWERS:
                self._making.clear()
            lock = self._making.setdefault(key, Lock())
        with lock:
            yield self._clock()

    def forget(self) -> None:
        """Somebody did something: what follows must show it."""
        with self._lock:
            self._answers.clear()


def pace(request: HttpRequest, seconds: float, beside: bool = False) -> float:
    """Seconds until a page should ask again, for an answer to this request: as often as is good, when few are open."""
    open_pages: Polls | None = getattr(request, "polls", None)
    return open_pages.pace(seconds, beside) if open_pages else seconds
