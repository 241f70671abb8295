"""What is done to one instance: start, stop, deal with a failure, adopt. Blocking; runs in the supervisor's threads."""

import logging
import random
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event, Lock
from typing import Any

from models.backend.errors import BackendError, Unreachable
from models.runtime import logs, ports, process
from models.runtime.identity import Identity, marked
from models.runtime.launch import Failure, Interrupted, Launch, Layout, Plan
from models.runtime.probes import Clients
from models.runtime.restarts import Backoff, Cause, Decision, Facts, decide
from models.runtime.rows import Row, Store, StoreUnavailable
from models.states import ALIVE, State

log = logging.getLogger(__name__)

_ADOPT_SECONDS = 2.0
_ADOPT_TRIES = 3
#: Of an instance without a process.
NO_PROCESS: dict[str, Any] = {"pid": None, "pid_started": None, "address": "", "ready_at": None}
FRESH: dict[str, Any] = {**NO_PROCESS, "next_try_at": None}


class Operations:
    """letting_go: set when the agent ends and keeps its backends; a start is then left as it is."""

    def __init__(
        self,
        store: Store,
        layout: Layout,
        clients: Clients,
        letting_go: Event,
        *,
        choose_port: Callable[[Collection[int]], int] = ports.free_port,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._layout = layout
        self._clients = clients
        self._letting_go = letting_go
        self._choose_port = choose_port
        self._jitter = jitter
        #: Ports of backends that may not listen yet, by instance.
        self._ports: dict[int, int] = {}
        self._lock = Lock()

    def start(self, row: Row, interrupted: Event) -> None:
        if not self._clear_away(row):
            return
        if not self._store.move(row.id, row.state, State.STARTING, "starting the backend", **FRESH):
            return
        launch = Launch(self._store, self._layout, row, interrupted, partial(self._port_for, row.id))
        try:
            self._bring_up(launch)
        except Interrupted:
            if not self._letting_go.is_set():
                self.stop(row, "the start was broken off")
        except Failure as failure:
            self.fail(row, failure)

    def stop(self, row: Row, why: str = "shutting down") -> None:
        """Stop the backend of an instance, whatever state it is in, and everything it started."""
        current = self._store.row(row.id)
        if current is None:
            self._end(row)
            return
        moved = current.state is State.STOPPING or self._store.move(
            row.id, current.state, State.STOPPING, why, ready_at=None
        )
        if not moved:
            return
        report = self._end(current, free=current.state is State.READY)
        if report.gone:
            self._store.move(row.id, State.STOPPING, State.STOPPED, _stopped(report), **FRESH)
        else:
            log.warning("The backend of %s: %s", row.name, _survived(report))
            attempt = max(1, current.attempt)
            self._store.move(row.id, State.STOPPING, State.FAILED, _survived(report), attempt=attempt)

    def stop_unrecorded(self, row: Row) -> None:
        """Stop the backend while nothing can be recorded; the next agent finds out that it is gone."""
        self._end(row, free=row.state is State.READY)

    def stop_orphans(self, instance: int, found: list[Identity]) -> None:
        """Stop processes that carry our marker and that no instance claims."""
        log.warning("Stopping process %s: it belongs to instance %s, which does not claim it.", found[0].pid, instance)
        report = process.stop(found[0], None, self._layout.stop_seconds, owned=self._owned(instance))
        if not report.gone:
            log.error("%s", _survived(report))

    def lost(self, row: Row) -> None:
        self.fail(row, Failure(Cause.EXITED, "The backend ended while it was ready."))

    def deaf(self, row: Row) -> None:
        detail = f"The process of the backend runs, but nothing listens on {row.address} any more."
        self.fail(row, Failure(Cause.UNREACHABLE, detail))

    def half_started(self, row: Row) -> None:
        detail = "The agent ended in the middle of a start or a stop of the backend, so that is begun again."
        self.fail(row, Failure(Cause.HALF_STARTED, detail))

    def adopt(self, row: Row) -> None:
        """Verify what an earlier agent left: its own process, alive and answering, is ready again."""
        if not row.is_wanted:
            self.stop(row)
            return
        if row.ready_at is None:
            self.half_started(row)
            return
        identity = self._verified(row)
        if identity is None:
            self.fail(row, Failure(Cause.GONE, "The backend was gone when the agent came back."))
        elif self._answers(row):
            why = "found again after the agent came back"
            self._store.move(row.id, State.UNKNOWN, State.READY, why, pid_started=identity.started)
        else:
            self.deaf(row)

    def fail(self, row: Row, failure: Failure) -> None:
        """Clear away what is left of a run, and let the restart policy decide what comes next."""
        current = self._store.row(row.id)
        if current is None:
            self._end(row)
            return
        decision = decide(self._facts(current, failure))
        self._end(current)
        if decision.attempt == 1:
            logs.keep_first_failure(self._layout.log_of(current.name))
        self._record(current, decision)

    def _bring_up(self, launch: Launch) -> None:
        instance = launch.row.id
        plan = launch.plan()
        identity, address = self._spawn(launch, plan)
        try:
            client = self._clients.get(instance, address)
            launch.wait_until_healthy(client, identity, plan.seconds)
            if not self._store.move(instance, State.STARTING, State.LOADING, "loading the model"):
                raise Interrupted
            launch.load(client, identity, plan)
            now = datetime.now(UTC)
            if not self._store.move(instance, State.LOADING, State.READY, "the model is loaded", ready_at=now):
                raise Interrupted
        finally:
            with self._lock:
                self._ports.pop(instance, None)

    def _spawn(self, launch: Launch, plan: Plan) -> tuple[Identity, str]:
        """Start the process and record it. One that cannot be recorded is stopped: nobody would find it again."""
        launch.check()
        identity, address = launch.spawn(plan)
        fields = {"backend": plan.folder.name, "address": address, "pid": identity.pid, "pid_started": identity.started}
        try:
            recorded = self._store.update(launch.row.id, State.STARTING, **fields)
        except StoreUnavailable:
            recorded = False
        if not recorded and not self._letting_go.is_set():
            process.stop(identity, None, self._layout.stop_seconds, owned=self._owned(launch.row.id))
            raise Interrupted
        return identity, address

    def _port_for(self, instance: int) -> int:
        with self._lock:
            port = self._ports[instance] = self._choose_port(self._ports.values())
            return port

    def _clear_away(self, row: Row) -> bool:
        """Nothing may be left of the run before. False, and recorded, when something of it cannot be killed."""
        if row.identity is None and not marked(self._layout.owner).get(row.id):
            return True
        report = self._end(row)
        if report.gone:
            return True
        log.warning("The backend of %s: %s", row.name, _survived(report))
        if row.state is State.FAILED:
            self._store.update(row.id, State.FAILED, reason=_survived(report), attempt=max(1, row.attempt))
        else:
            self._store.move(row.id, row.state, State.FAILED, _survived(report), attempt=max(1, row.attempt))
        return False

    def _end(self, row: Row, *, free: bool = False) -> process.StopReport:
        """The ladder, for the recorded process and for every one that carries the marker of this instance."""
        owned = self._owned(row.id)
        identity = row.identity or next(iter(owned()), None)
        if identity is None:
            self._clients.drop(row.id)
            return process.StopReport(gone=True, rung="none", leftovers=[])
        ask = (lambda: self._free(row)) if free and row.address else None
        report = process.stop(identity, ask, self._layout.stop_seconds, owned=owned)
        self._clients.drop(row.id)
        return report

    def _free(self, row: Row) -> None:
        with suppress(BackendError):
            self._clients.get(row.id, row.address).free(process.FREE_SECONDS)

    def _owned(self, instance: int) -> Callable[[], list[Identity]]:
        return process.owned_by(self._layout.owner, instance)

    def _verified(self, row: Row) -> Identity | None:
        """The recorded process, if it lives. When the clock was set since, its marker proves what its time does not."""
        if row.identity is not None and row.identity.is_alive():
            return row.identity
        found = marked(self._layout.owner).get(row.id, [])
        return next((identity for identity in found if identity.pid == row.pid), None)

    def _answers(self, row: Row) -> bool:
        """Whether somebody listens. One that is too busy to answer in time still does."""
        for _ in range(_ADOPT_TRIES):
            try:
                self._clients.get(row.id, row.address).health(_ADOPT_SECONDS)
            except Unreachable:
                if self._letting_go.wait(0.5):
                    return True
            except BackendError:
                return True
            else:
                return True
        return False

    def _facts(self, row: Row, failure: Failure) -> Facts:
        ready = (datetime.now(UTC) - row.ready_at).total_seconds() if row.ready_at else 0.0
        ended = failure.cause is Cause.EXITED and row.identity is not None
        return Facts(
            attempt=row.attempt,
            cause=failure.cause,
            detail=failure.detail,
            exit_code=process.exit_code(row.identity) if ended and row.identity else None,
            last_line=logs.last_line(self._layout.log_of(row.name)) if row.identity else "",
            ready_seconds=ready,
            jitter=self._jitter(),
        )

    def _record(self, row: Row, decision: Decision) -> None:
        log.warning("The backend of %s: %s", row.name, decision.reason)
        fields = {**NO_PROCESS, "attempt": decision.attempt, "next_try_at": None}
        if isinstance(decision, Backoff):
            fields["next_try_at"] = datetime.now(UTC) + timedelta(seconds=decision.delay)
            self._store.move(row.id, row.state, State.BACKOFF, decision.reason, **fields)
        else:
            self._store.move(row.id, row.state, State.FAILED, decision.reason, **fields)


def claims(row: Row) -> bool:
    """Whether a process of this instance may be there; any other process with its marker is an orphan."""
    return row.state in ALIVE


def _stopped(report: process.StopReport) -> str:
    return "stopped; it had to be killed" if report.rung == "kill" else "stopped"


def _survived(report: process.StopReport) -> str:
    pids = ", ".join(str(pid) for pid in report.leftovers)
    return f"Process {pids} could not be killed. End it by hand, or restart the machine, then load the model again."
