"""How much of the line a download may take."""

from typing import Protocol

#: Bytes that are read at once without a limit: more do not come together.
MOST = 1 << 20


class Pace(Protocol):
    """Asked all the time, by several threads, so that a change is followed while bytes come."""

    def connections(self) -> int:
        """How many connections one install may have now."""

    def spend(self, count: int) -> float:
        """`count` bytes came; returns how many seconds to wait before any more are read.

        Whoever waits long asks again with 0 now and then: a limit that was changed may end the wait.
        """

    def piece(self) -> int:
        """The most bytes to read before the next `spend`."""


class Unlimited:
    """As fast as it goes."""

    def __init__(self, connections: int = 8) -> None:
        self._connections = connections

    def connections(self) -> int:
        return self._connections

    def spend(self, count: int) -> float:
        return 0.0

    def piece(self) -> int:
        return MOST
