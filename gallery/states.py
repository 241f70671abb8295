"""The states of a job, what a person can want of it, and the moves between the states."""

from enum import StrEnum


class State(StrEnum):
    QUEUED = "queued"
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    COMMITTING = "committing"
    DONE = "done"
    PAUSED = "paused"
    RETRYING = "retrying"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Wanted(StrEnum):
    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Kind(StrEnum):
    INSTALL = "install"
    DELETE = "delete"
    REFRESH = "refresh"
    STARTER = "starter"
    ROLLBACK = "rollback"
    SCAN = "scan"


#: A worker holds the job and keeps its heartbeat fresh.
WORKING = frozenset({State.RESOLVING, State.DOWNLOADING, State.VERIFYING, State.COMMITTING})
#: Not working now, but will go on by itself.
WAITING = frozenset({State.QUEUED, State.RETRYING})
#: Everything that may still change by itself: one such job at a time for one subject.
ACTIVE = WORKING | WAITING | {State.PAUSED}
#: The last word, unless a person asks for a retry.
ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})
#: A person can ask for another try.
RETRYABLE = frozenset({State.FAILED, State.CANCELLED})
#: A person can still call it off: nothing has become visible yet.
CANCELLABLE = ACTIVE - {State.COMMITTING}

#: A person can let it rest; its bytes stay.
PAUSABLE = CANCELLABLE - {State.PAUSED}
PAUSABLE_KINDS = frozenset({Kind.INSTALL})
#: Kinds that may take hours: each is done on a thread of its own, so that nothing short waits for it.
LONG = frozenset({Kind.INSTALL, Kind.STARTER, Kind.SCAN})
#: Of those, the ones that stand in a queue: so many at once as the limits allow.
IN_LINE = LONG - {Kind.SCAN}
#: Kinds that change one model: never two of them at work on the same.
EXCLUSIVE = frozenset({Kind.INSTALL, Kind.DELETE, Kind.ROLLBACK})

_WORK_CAN_END_IN = frozenset({State.RETRYING, State.FAILED, State.QUEUED})
_BEFORE_COMMIT = _WORK_CAN_END_IN | {State.COMMITTING, State.PAUSED, State.CANCELLED}
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RESOLVING, State.PAUSED, State.CANCELLED, State.FAILED}),
    State.RESOLVING: _WORK_CAN_END_IN
    | {State.DOWNLOADING, State.VERIFYING, State.COMMITTING, State.PAUSED, State.CANCELLED},
    State.DOWNLOADING: _WORK_CAN_END_IN | {State.VERIFYING, State.COMMITTING, State.PAUSED, State.CANCELLED},
    State.VERIFYING: _WORK_CAN_END_IN | {State.DOWNLOADING, State.COMMITTING, State.PAUSED, State.CANCELLED},
    State.COMMITTING: _WORK_CAN_END_IN | {State.DONE},
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.RETRYING: frozenset({State.QUEUED, State.PAUSED, State.CANCELLED}),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.DONE: frozenset(),
}


def can_move(old: State, new: State) -> bool:
    return new in MOVES[old]
