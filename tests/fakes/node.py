"""A node for tests: a store in memory, an agent that can be replaced, and the fake backends that it owns."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.runtime.identity import Identity, marked
from models.runtime.launch import Layout
from models.runtime.rows import Row
from models.runtime.supervisor import Supervisor
from models.states import Desired, State
from tests.fakes.store import MemoryStore

FAKES = Path(__file__).resolve().parents[1] / "fakes" / "backends"
PATIENCE = 20.0


@dataclass
class Node:
    """A node with a store, an agent that can be replaced, and the processes that it owns."""

    store: MemoryStore
    layout: Layout
    stop: threading.Event = field(default_factory=threading.Event)
    supervisor: Supervisor | None = None
    thread: threading.Thread | None = None

    def begin(self, **options: Any) -> None:
        self.stop = threading.Event()
        self.supervisor = Supervisor(self.store, self.layout, jitter=lambda: 0.0, **options)
        self.thread = threading.Thread(target=self.supervisor.run, args=(self.stop, 0.05))
        self.thread.start()

    def end(self, *, keep_backends: bool) -> None:
        if self.thread and self.supervisor:
            self.stop.set()
            self.thread.join()
            self.supervisor.shutdown(keep_backends)
            self.thread = None

    def add(self, backend: str, **fields: Any) -> Row:
        config = f"name: {backend}\nbackend: {backend}\nparameters:\n  model: {backend}.bin\n"
        (self.layout.models / f"{backend}.yaml").write_text(config)
        return self.store.add(backend, **{"desired": Desired.RUNNING, **fields})

    def ready(self, backend: str = "good") -> Row:
        return self.until(self.add(backend), State.READY)

    def until(self, row: Row, *states: State, seen: Callable[[Row], bool] = lambda _: True) -> Row:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            now = self.store.row(row.id)
            assert now is not None
            if now.state in states and seen(now):
                return now
            time.sleep(0.02)
        raise AssertionError(f"{row.name} did not become {states}, it is: {self.store.row(row.id)}")

    def processes(self) -> list[Identity]:
        return [identity for found in marked(self.layout.owner).values() for identity in found]

    def states(self, row: Row) -> list[State]:
        return [new for instance, _, new, _ in self.store.events if instance == row.id]


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
