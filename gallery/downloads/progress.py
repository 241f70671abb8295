"""How far a download is, how fast it goes and how long it still takes."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock

WINDOW = 10.0
#: Parts of the window that are told apart: one sample each.
_STEP = 0.25


@dataclass(frozen=True, slots=True)
class FileProgress:
    """`total` is bytes, None while unknown. Status: waiting, checking, downloading, verified, already here."""

    filename: str
    done: int
    total: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Bytes of all files together; `total` is None while one of them is unknown, and `done` never goes back.

    `speed` is bytes a second over the last ten, `eta` seconds, both None while unknown; `idle` is seconds without data.
    `fetched` is what came over the wire in this run, by all connections: what came twice counts twice.
    """

    done: int
    total: int | None
    speed: float | None
    eta: float | None
    idle: float
    files: tuple[FileProgress, ...]
    fetched: int = 0


class Meter:
    """Speed over a moving window. Only what `add` is told counts: bytes that were here before have no speed.

    `total` is all bytes so far. May be told by several threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, window: float = WINDOW) -> None:
        self._clock = clock
        self._window = window
        self._began = self._last = clock()
        self._samples: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._any = False
        self._lock = RLock()
        self.total = 0

    def add(self, count: int) -> None:
        """Bytes that just came from the network."""
        with self._lock:
            self._add(count)

    def _add(self, count: int) -> None:
        self.total += count
        now = self._clock()
        self._last, self._any = now, True
        self._in_window += count
        if self._samples and now - self._samples[-1][0] < _STEP:
            at, before = self._samples.pop()
            self._samples.append((at, before + count))
        else:
            self._samples.append((now, count))
        self._forget(now)

    @property
    def idle(self) -> float:
        """Seconds since data came, or since the start when none did."""
        return self._clock() - self._last

    def connect(self) -> None:
        """Data can come from now on: the time before this is neither slow nor a stall."""
        with self._lock:
            self._last = self._clock()
            self._forget(self._last)
            if not self._samples:
                self._began, self._any = self._last, False

    def speed(self) -> float | None:
        """Bytes a second; None until there is something to measure."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            measured = min(self._window, now - self._began)
            return self._in_window / measured if self._any and measured >= _STEP else None

    def eta(self, left: int | None) -> float | None:
        """Seconds for the bytes that are left; None while nobody can say."""
        speed = self.speed()
        return left / speed if left is not None and speed else None

    def _forget(self, now: float) -> None:
        while self._samples and self._samples[0][0] <= now - self._window:
            self._in_window -= self._samples.popleft()[1]
