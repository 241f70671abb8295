"""What is to be done about one instance, from what is recorded and what is seen. Decides only; acts on nothing."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models.runtime.rows import Row
from models.states import State


class Step(StrEnum):
    NONE = "none"
    START = "start"
    STOP = "stop"
    #: Nothing runs and nothing is wanted: say so.
    REST = "rest"
    #: Stop a start that is under way.
    INTERRUPT = "interrupt"
    #: A ready backend whose process ended.
    LOST = "lost"
    #: A ready backend that lives but does not listen any more.
    DEAF = "deaf"
    #: Nobody works on a start that is recorded as under way.
    HALF_STARTED = "half started"
    #: Verify what an earlier agent left.
    ADOPT = "adopt"


class Work(StrEnum):
    """What a thread does for an instance now."""

    START = "start"
    OTHER = "other"


@dataclass(frozen=True)
class Seen:
    """alive: the recorded process runs. deaf: its port refused several probes in a row. work: what is under way."""

    alive: bool
    deaf: bool = False
    work: Work | None = None


def decide(row: Row, seen: Seen, now: datetime) -> Step:
    """The one next step for this instance."""
    if seen.work is not None:
        return Step.INTERRUPT if seen.work is Work.START and not row.is_wanted else Step.NONE
    if row.state is State.UNKNOWN:
        return Step.ADOPT
    return _wanted(row, seen, now) if row.is_wanted else _unwanted(row, seen)


def _wanted(row: Row, seen: Seen, now: datetime) -> Step:
    match row.state:
        case State.STOPPED:
            return Step.START
        case State.BACKOFF:
            return Step.START if row.next_try_at is None or row.next_try_at <= now else Step.NONE
        case State.FAILED:
            # A new wish clears the failures in a row; a backend that was given up on has at least one.
            return Step.START if row.attempt == 0 else Step.NONE
        case State.STARTING | State.LOADING:
            return Step.HALF_STARTED
        case State.STOPPING:
            return Step.STOP
        case State.READY:
            return _ready(seen)
    return Step.NONE


def _ready(seen: Seen) -> Step:
    if not seen.alive:
        return Step.LOST
    return Step.DEAF if seen.deaf else Step.NONE


def _unwanted(row: Row, seen: Seen) -> Step:
    match row.state:
        case State.STARTING | State.LOADING | State.READY | State.STOPPING:
            return Step.STOP
        case State.BACKOFF:
            return Step.REST
        case State.FAILED:
            # One that could not be killed stays in sight until it is gone.
            return Step.NONE if seen.alive else Step.REST
    return Step.NONE
