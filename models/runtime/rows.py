"""What the supervisor knows of an instance, and the port through which it reads and writes that."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from models.configs import ModelConfig
from models.runtime.identity import Identity
from models.states import Desired, State


@dataclass(frozen=True)
class Row:
    """An instance as it was when it was read."""

    id: int
    name: str
    backend: str
    state: State
    desired: Desired
    reason: str = ""
    attempt: int = 0
    next_try_at: datetime | None = None
    address: str = ""
    pid: int | None = None
    pid_started: float | None = None
    ready_at: datetime | None = None

    @property
    def identity(self) -> Identity | None:
        """The process that was recorded; None when none was."""
        if self.pid is None or self.pid_started is None:
            return None
        return Identity(self.pid, self.pid_started)

    @property
    def is_wanted(self) -> bool:
        return self.desired is Desired.RUNNING


class StoreUnavailable(Exception):
    """What is stored cannot be read or written now. A retry helps: the database comes back or its lock is let go."""

    retry = True


class Store(Protocol):
    """The instances of this node. Every method raises StoreUnavailable, and may be called from any thread."""

    def rows(self) -> list[Row]:
        """Every instance that is wanted or not at rest."""

    def row(self, instance: int) -> Row | None: ...

    def move(self, instance: int, old: State, new: State, why: str, **fields: Any) -> bool:
        """Change the state if it still is `old`, with other fields of Row, and keep it as an event.

        False when somebody else was first or the instance is gone. ValueError for a move that is never allowed.
        """

    def update(self, instance: int, state: State, **fields: Any) -> bool:
        """Change other fields of Row as long as the state is `state`; no event. False as for move."""

    def config(self, name: str) -> ModelConfig | None:
        """The configuration of a model; None when it has none. Raises ConfigInvalid."""

    def release(self) -> None:
        """Let go of what this thread holds, such as its connection. Raises nothing."""
