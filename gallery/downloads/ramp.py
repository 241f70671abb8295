"""How many connections help."""

import time
from collections.abc import Callable

#: A number of connections is tried for so long. Seconds.
_TRIAL = 0.3
#: Later, one more is tried this often.
_AGAIN = 5.0
#: More connections have helped when the speed grew by this factor.
_GAIN = 1.2


class Ramp:
    """Begins with few connections and doubles them as long as that makes it faster. `limit` is asked all the time.

    Of many files there are `first` connections from the beginning: most of their time is waiting for an answer.
    """

    def __init__(self, limit: Callable[[], int], first: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._wanted = first
        self._refused: int | None = None
        self._since: float | None = None
        self._from = 0
        self._best = 0.0
        self._most = max(1, limit())

    @property
    def wanted(self) -> int:
        """How many connections there may be now."""
        most = max(1, self._limit())
        return max(1, min(self._wanted, most, self._refused or most))

    def look(self, fetched: int) -> None:
        """`fetched` is all bytes that came so far; called a few times a second."""
        now, most = self._clock(), max(1, self._limit())
        if most > self._most:
            # More are allowed than before: whether they help is a new question.
            self._best = 0.0
        self._most = most
        if self._since is None:
            if fetched:
                self._since, self._from = now, fetched
            return
        passed = now - self._since
        if passed < _TRIAL:
            return
        speed = (fetched - self._from) / passed
        helped = speed > self._best * _GAIN
        if helped or passed > _AGAIN:
            self._best = max(self._best if helped else 0.0, speed)
            self._wanted = min(most, self._wanted * 2 if helped else self._wanted + 1)
            self._since, self._from = now, fetched

    def refuse(self, active: int) -> None:
        """The server does not want so many; returns nothing, and is remembered for this run."""
        self._refused = max(1, min(active, self._refused or active) - 1)
