"""A store in memory, which keeps to the same contract as the one in the database."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Any

from models.config_folder import ConfigFolder
from models.configs import ModelConfig
from models.runtime.rows import Row, StoreUnavailable
from models.states import Desired, State, can_move


@dataclass
class MemoryStore:
    """`away` makes every call fail, as a database that is gone does. `events` holds (instance, old, new, why)."""

    models_path: Path
    away: bool = False
    events: list[tuple[int, State, State, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._configs = ConfigFolder(self.models_path)
        self._lock = RLock()

    def add(self, name: str, **fields: Any) -> Row:
        """What the web process does at the first load."""
        row = Row(id=len(self._rows) + 1, name=name, **{**_NEW, **fields})
        self._rows[row.id] = row
        return row

    def remove(self, instance: int) -> None:
        del self._rows[instance]

    def wish(self, instance: int, desired: Desired) -> None:
        with self._lock:
            fresh = {"attempt": 0, "next_try_at": None} if desired is Desired.RUNNING else {}
            self._rows[instance] = replace(self._rows[instance], desired=desired, **fresh)

    def rows(self) -> list[Row]:
        with self._open():
            at_rest = (State.STOPPED, Desired.STOPPED)
            return [row for row in self._rows.values() if (row.state, row.desired) != at_rest]

    def row(self, instance: int) -> Row | None:
        with self._open():
            return self._rows.get(instance)

    def move(self, instance: int, old: State, new: State, why: str, **fields: Any) -> bool:
        with self._open():
            row = self._rows.get(instance)
            if row is None:
                return False
            if not can_move(old, new):
                raise ValueError(f"an instance cannot go from {old} to {new}")
            if row.state is not old:
                return False
            self._rows[instance] = replace(row, state=new, **{"reason": why, **fields})
            self.events.append((instance, old, new, why))
            return True

    def update(self, instance: int, state: State, **fields: Any) -> bool:
        with self._open():
            row = self._rows.get(instance)
            if row is None or row.state is not state:
                return False
            self._rows[instance] = replace(row, **fields)
            return True

    def config(self, name: str) -> ModelConfig | None:
        return self._configs.get(name)

    def release(self) -> None:
        pass

    def _open(self) -> RLock:
        if self.away:
            raise StoreUnavailable("The database does not answer.")
        return self._lock


_NEW: dict[str, Any] = {"backend": "", "state": State.STOPPED, "desired": Desired.STOPPED}
