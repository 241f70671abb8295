"""The states of an instance (a model in a backend process on a node) and the moves between them."""

from enum import StrEnum


class State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Desired(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"


#: A process may be there.
ALIVE = frozenset({State.STARTING, State.LOADING, State.READY, State.STOPPING, State.UNKNOWN})
#: Something is under way; a page that shows it polls fast.
MOVING = frozenset({State.STARTING, State.LOADING, State.STOPPING, State.BACKOFF, State.UNKNOWN})
#: A person should look.
TROUBLED = frozenset({State.BACKOFF, State.FAILED})
#: Nothing happens any more until somebody wishes it.
RESTING = frozenset({State.STOPPED, State.FAILED})

MOVES: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING, State.FAILED}),
    State.STARTING: frozenset({State.LOADING, State.BACKOFF, State.FAILED, State.STOPPING, State.UNKNOWN}),
    State.LOADING: frozenset({State.READY, State.BACKOFF, State.FAILED, State.STOPPING, State.UNKNOWN}),
    State.READY: frozenset({State.BACKOFF, State.FAILED, State.STOPPING, State.UNKNOWN}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED, State.UNKNOWN}),
    State.BACKOFF: frozenset({State.STARTING, State.FAILED, State.STOPPED}),
    State.FAILED: frozenset({State.STARTING, State.STOPPED}),
    State.UNKNOWN: frozenset({State.READY, State.LOADING, State.STOPPING, State.STOPPED, State.BACKOFF, State.FAILED}),
}


def can_move(old: State, new: State) -> bool:
    return new in MOVES[old]
