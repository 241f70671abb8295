"""The agent's loop: looks at every instance of this node, decides, and hands what blocks to threads."""

import logging
import random
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event, Lock

from models.runtime import logs, ports
from models.runtime.identity import Identity, marked
from models.runtime.launch import Layout
from models.runtime.operations import FRESH, Operations, claims
from models.runtime.patience import PatientStore
from models.runtime.probes import Clients, Probes
from models.runtime.reasons import BUSY
from models.runtime.reconcile import Seen, Step, Work, decide
from models.runtime.restarts import GOOD_RUN
from models.runtime.rows import Row, Store, StoreUnavailable
from models.states import ALIVE, State

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
_GOOD_RUN = timedelta(seconds=GOOD_RUN)
_LOGS_SECONDS = 2.0
_THREADS = 128


@dataclass
class _Task:
    work: Work
    interrupted: Event = field(default_factory=Event)
    future: "Future[None] | None" = None


class Supervisor:
    """Owns every backend process of one node. `run` returns when told to; then `shutdown` says what becomes of them."""

    def __init__(
        self,
        store: Store,
        layout: Layout,
        *,
        choose_port: Callable[[Collection[int]], int] = ports.free_port,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._layout = layout
        self._letting_go = Event()
        self._closing = Event()
        self._clients = Clients()
        self._probes = Probes(self._clients)
        patient = PatientStore(store, self._closing)
        self._operations = Operations(
            patient, layout, self._clients, self._letting_go, choose_port=choose_port, jitter=jitter
        )
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="backend")
        self._tasks: dict[int, _Task] = {}
        self._lock = Lock()
        self._rows: list[Row] = []
        self._swept = self._trimmed = 0.0

    def run(self, stop: Event, interval: float = 0.3) -> None:
        """Adopt what is there, then reconcile until `stop` is set. Backends run on when it returns."""
        adopted = False
        while not stop.is_set():
            try:
                if not adopted:
                    self.adopt()
                    adopted = True
                self.tick()
            except StoreUnavailable as error:
                log.warning("%s Backends run on; the next round tries again.", error)
            except Exception:
                log.exception("A round of the agent failed; the next one tries again.")
            stop.wait(interval)

    def adopt(self) -> None:
        """Mark every instance that may have a process as unknown; the next rounds verify each. Stop orphans."""
        for row in self._store.rows():
            if row.state in ALIVE and row.state is not State.UNKNOWN:
                fields = {"ready_at": None} if row.state is not State.READY else {}
                self._store.move(row.id, row.state, State.UNKNOWN, "the agent came back", **fields)
        self._sweep()

    def tick(self) -> None:
        """One round: never blocks on a backend."""
        # Taken before the rows are read: a task that ends in between has changed its row since.
        with self._lock:
            works = {instance: task.work for instance, task in self._tasks.items()}
        self._rows = rows = self._store.rows()
        now = datetime.now(UTC)
        for row in rows:
            self._take(decide(row, self._seen(row, works.get(row.id)), now), row)
        self._probes.ask(row for row in rows if row.state is State.READY)
        self._name_busy(rows)
        self._forget_failures(rows, now)
        self._trim_logs(rows)
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._sweep()

    def shutdown(self, keep_backends: bool) -> None:
        """Let go of the backends, or stop them all. What is wanted stays as it is, for the next agent to see to."""
        if keep_backends:
            self._letting_go.set()
        self._closing.set()
        self._interrupt_all()
        if not keep_backends:
            self._stop_all()
            # One that was being adopted or started in the first round may have become ready since.
            self._wait()
            self._stop_all()
        self._wait()
        self._pool.shutdown(wait=True)
        self._probes.close()
        self._clients.close()

    def _take(self, step: Step, row: Row) -> None:
        operations = self._operations
        match step:
            case Step.START:
                self._begin(row.id, partial(operations.start, row), Work.START)
            case Step.INTERRUPT:
                self._interrupt(row.id)
            case Step.REST:
                self._store.move(row.id, row.state, State.STOPPED, "not wanted any more", **FRESH)
            case Step.STOP:
                self._begin(row.id, lambda _: operations.stop(row))
            case Step.LOST:
                self._begin(row.id, lambda _: operations.lost(row))
            case Step.DEAF:
                self._begin(row.id, lambda _: operations.deaf(row))
            case Step.HALF_STARTED:
                self._begin(row.id, lambda _: operations.half_started(row))
            case Step.ADOPT:
                self._begin(row.id, lambda _: operations.adopt(row))

    def _seen(self, row: Row, work: Work | None) -> Seen:
        alive = row.identity is not None and row.identity.is_alive()
        return Seen(alive=alive, deaf=self._probes.is_deaf(row.id), work=work)

    def _begin(self, instance: int, action: Callable[[Event], None], work: Work = Work.OTHER) -> None:
        """Run it in a thread, unless something is under way for this instance already."""
        with self._lock:
            if instance not in self._tasks:
                task = self._tasks[instance] = _Task(work)
                task.future = self._pool.submit(self._run_task, instance, task, action)

    def _run_task(self, instance: int, task: _Task, action: Callable[[Event], None]) -> None:
        try:
            action(task.interrupted)
        except StoreUnavailable as error:
            log.warning("Instance %s: %s", instance, error)
        except Exception:
            log.exception("What was done for instance %s failed.", instance)
        finally:
            self._store.release()
            with self._lock:
                self._tasks.pop(instance, None)

    def _interrupt(self, instance: int) -> None:
        with self._lock:
            if task := self._tasks.get(instance):
                task.interrupted.set()

    def _interrupt_all(self) -> None:
        with self._lock:
            for task in self._tasks.values():
                task.interrupted.set()

    def _wait(self) -> None:
        with self._lock:
            futures = [task.future for task in self._tasks.values() if task.future]
        wait(futures)

    def _alive(self) -> list[Row]:
        try:
            self._rows = self._store.rows()
        except StoreUnavailable as error:
            log.warning("%s What was seen last is stopped.", error)
        return [row for row in self._rows if row.state in ALIVE]

    def _stop_all(self) -> None:
        for row in self._alive():
            self._begin(row.id, partial(self._stop_at_end, row))

    def _stop_at_end(self, row: Row, _: Event) -> None:
        try:
            self._operations.stop(row, "the agent stops")
        except StoreUnavailable:
            self._operations.stop_unrecorded(row)

    def _sweep(self) -> None:
        """Stop marked processes that no instance claims. They are looked for first: a start is recorded before it."""
        self._swept = time.monotonic()
        found = marked(self._layout.owner)
        claimed = {row.id for row in self._store.rows() if claims(row)}
        for instance, identities in found.items():
            left = [identity for identity in identities if identity.is_alive()]
            if left and instance not in claimed and instance not in self._tasks:
                self._begin(instance, partial(self._stop_orphans, instance, left))

    def _stop_orphans(self, instance: int, found: list[Identity], _: Event) -> None:
        self._operations.stop_orphans(instance, found)

    def _name_busy(self, rows: list[Row]) -> None:
        for row in rows:
            if row.state is not State.READY or row.id in self._tasks:
                continue
            busy = self._probes.is_busy(row.id)
            if busy != (row.reason == BUSY):
                self._store.update(row.id, State.READY, reason=BUSY if busy else "the backend answers again")

    def _forget_failures(self, rows: list[Row], now: datetime) -> None:
        """After a good run there are no failures in a row any more."""
        for row in rows:
            if row.state is State.READY and row.attempt and row.ready_at and now - row.ready_at > _GOOD_RUN:
                self._store.update(row.id, State.READY, attempt=0)

    def _trim_logs(self, rows: list[Row]) -> None:
        if time.monotonic() - self._trimmed < _LOGS_SECONDS:
            return
        self._trimmed = time.monotonic()
        for row in rows:
            if row.state in ALIVE:
                logs.shorten(self._layout.log_of(row.name))
