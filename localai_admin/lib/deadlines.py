"""One thread that cuts off whatever takes too long: a thread for each wait would cost more than most answers."""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import NamedTuple

#: The thread looks this often, in parts of the time that is allowed, and ends after so many looks without work.
_LOOKS, _IDLE = 20, 40


class _Wait(NamedTuple):
    deadline: float
    sock: socket.socket
    late: Event


class Deadlines:
    """Gives every wait the same number of seconds, or a little more. For any number of threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._waits: dict[int, _Wait] = {}
        self._watching = False

    @contextmanager
    def watch(self, sock: socket.socket) -> Iterator[Event]:
        """Shut the socket down when the block lasts too long; the event then is set."""
        wait = _Wait(time.monotonic() + self._seconds, sock, Event())
        with self._lock:
            self._waits[id(wait)] = wait
            if not self._watching:
                self._watching = True
                Thread(target=self._watch, name="deadlines", daemon=True).start()
        try:
            yield wait.late
        finally:
            with self._lock:
                del self._waits[id(wait)]

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(min(0.25, self._seconds / _LOOKS))
            with self._lock:
                idle = 0 if self._waits else idle + 1
                if idle > _IDLE:
                    self._watching = False
                    return
                now = time.monotonic()
                for wait in self._waits.values():
                    if now >= wait.deadline and not wait.late.is_set():
                        wait.late.set()
                        with contextlib.suppress(OSError):
                            socket.socket.shutdown(wait.sock, socket.SHUT_RDWR)
