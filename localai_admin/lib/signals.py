"""Signals that end a program, passed on so that no lock stands in the way."""

import signal
from collections.abc import Iterable
from queue import SimpleQueue
from threading import Event, Thread


def set_at(stop: Event, signals: Iterable[signal.Signals]) -> set[int]:
    """Set `stop` at each of the signals. Returns the set that the numbers of those received go into.

    Not by the handler itself: it runs in the middle of whatever the main thread does, and when that is in `stop.wait`,
    both want the lock of `stop`, for ever. Putting into this kind of queue takes no lock.
    """
    received: set[int] = set()
    told: SimpleQueue[int] = SimpleQueue()

    def note(number: int, _frame: object) -> None:
        received.add(number)
        told.put(number)

    def pass_on() -> None:
        told.get()
        stop.set()

    Thread(target=pass_on, name="signals", daemon=True).start()
    for number in signals:
        signal.signal(number, note)
    return received
