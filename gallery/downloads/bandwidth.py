"""The bandwidth of all downloads together: a bucket for each job, filled so that no job takes another's share."""

import time
from collections.abc import Callable
from threading import Lock
from weakref import WeakSet

from gallery.downloads.pace import MOST

#: The shares are worked out anew after so long. Seconds.
WINDOW = 0.25
#: What was not used is kept for so long; a debt is made good within this. Seconds.
_BURST, _REPAY = 0.05, 1.0
#: Less than this is not worth a call. Bytes.
_LEAST = 16 << 10


class Share:
    """What one job takes of the line. Implements `Pace`; may be asked by any number of threads."""

    def __init__(self, line: "Line", connections: Callable[[], int]) -> None:
        self._line, self._connections = line, connections
        self.rate = 0.0
        self.balance = 0.0
        self.used = 0
        self.wants_more = False

    def connections(self) -> int:
        """How many connections the job may have now."""
        return self._connections()

    def spend(self, count: int) -> float:
        """`count` bytes came; returns the seconds to wait before more are read, 0.0 for none."""
        return self._line.spend(self, count)

    def piece(self) -> int:
        """Bytes to read at once: a moment's worth, so that a slow line is not taken by what comes before any wait."""
        return self._line.piece(self)


class Line:
    """The bytes a second that all shares have together, None without a limit. Safe to use from any thread.

    A job that needs less than an equal share leaves the rest to the others. The clock is one that never jumps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._rate: float | None = None
        self._shares: WeakSet[Share] = WeakSet()
        self._balance = 0.0
        self._filled_at = self._levelled_at = clock()

    def limit(self, rate: float | None) -> None:
        """Holds from now on, for whoever is in the middle of something as well."""
        with self._lock:
            if rate == self._rate:
                return
            self._fill(self._clock())
            self._rate, self._balance = rate, 0.0
            for share in self._shares:
                share.balance = share.balance if rate else 0.0
            self._level()

    def share(self, connections: Callable[[], int]) -> Share:
        """The share of a new job. It ends when nobody holds it any more."""
        share = Share(self, connections)
        with self._lock:
            self._fill(self._clock())
            self._shares.add(share)
            self._level()
        return share

    def spend(self, share: Share, count: int) -> float:
        """As `Share.spend`."""
        with self._lock:
            if self._rate is None:
                return 0.0
            now = self._clock()
            self._fill(now)
            share.balance -= count
            share.used += count
            self._balance -= count
            share.wants_more |= share.balance < 0
            if now - self._levelled_at >= WINDOW:
                self._level()
            return max(-share.balance / share.rate, 0.0)

    def piece(self, share: Share) -> int:
        """As `Share.piece`."""
        with self._lock:
            return MOST if self._rate is None else min(max(int(share.rate * _BURST), _LEAST), MOST)

    def _fill(self, now: float) -> None:
        passed, self._filled_at = now - self._filled_at, now
        if self._rate is None:
            return
        self._balance = min(self._balance + self._rate * passed, self._rate * _BURST)
        for share in self._shares:
            share.balance = min(share.balance + share.rate * passed, share.rate * _BURST)

    def _level(self) -> None:
        """Divide the line anew: first to those who need less than an equal part, the rest among the others."""
        passed, self._levelled_at = self._filled_at - self._levelled_at, self._filled_at
        if self._rate is None or not self._shares:
            return
        # What the shares together were given too much comes off, so that the sum is right however they change.
        given = self._balance - sum(share.balance for share in self._shares)
        left = max(self._rate + min(given / _REPAY, 0.0), self._rate / 4)
        need = {share: _need(share, passed) for share in self._shares}
        active = sorted(need, key=lambda share: need[share])
        for place, share in enumerate(active):
            equal = left / (len(active) - place)
            if need[share] >= equal:
                self._give(active[place:], equal)
                self._give(active[:place], equal)
                break
            left -= need[share]
        else:
            self._give(active, max(left, self._rate / len(active)))
        for share in active:
            share.used, share.wants_more = 0, share.balance < 0

    @staticmethod
    def _give(shares: list[Share], rate: float) -> None:
        for share in shares:
            share.rate = rate


def _need(share: Share, passed: float) -> float:
    """Bytes a second that a job would take: all there is for one that had to wait."""
    return float("inf") if share.wants_more else share.used / max(passed, WINDOW)
