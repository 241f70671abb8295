"""What a new agent does with what an earlier one left, and what an agent leaves when it ends."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from models.runtime.identity import MARKER, marker
from models.states import Desired, State
from tests.fakes.node import Node, wait_for


def test_a_new_agent_adopts_a_ready_backend_and_keeps_its_process(node: Node) -> None:
    node.begin()
    before = node.ready()
    node.end(keep_backends=True)
    assert before.identity is not None
    assert before.identity.is_alive()
    node.begin()
    after = node.until(before, State.READY, seen=lambda now: "found again" in now.reason)
    assert (after.pid, after.address, after.ready_at) == (before.pid, before.address, before.ready_at)
    assert node.states(before)[-2:] == [State.UNKNOWN, State.READY]


def test_a_busy_backend_is_adopted_too(node: Node) -> None:
    node.begin()
    before = node.ready("hangs-after-load")
    node.end(keep_backends=True)
    node.begin()
    assert node.until(before, State.READY, seen=lambda now: "found again" in now.reason).pid == before.pid


def test_a_backend_is_adopted_when_the_clock_was_set_in_between(node: Node) -> None:
    node.begin()
    before = node.ready()
    node.end(keep_backends=True)
    assert before.pid_started is not None
    node.store.update(before.id, State.READY, pid_started=before.pid_started - 3600)
    node.begin()
    after = node.until(before, State.READY, seen=lambda now: "found again" in now.reason)
    assert (after.pid, after.pid_started) == (before.pid, before.pid_started)


def test_a_start_that_the_agent_left_half_done_is_begun_again(node: Node) -> None:
    node.begin()
    row = node.until(node.add("slow-load"), State.LOADING)
    node.end(keep_backends=True)
    assert len(node.processes()) == 1
    node.begin()
    row = node.until(row, State.BACKOFF)
    assert "in the middle of a start" in row.reason
    assert node.processes() == []


def test_a_backend_that_vanished_while_there_was_no_agent_is_started_again(node: Node) -> None:
    node.begin()
    row = node.ready()
    node.end(keep_backends=True)
    os.kill(row.pid or 0, signal.SIGKILL)
    wait_for(lambda: not node.processes())
    node.begin()
    assert "was gone when the agent came back" in node.until(row, State.BACKOFF).reason
    node.until(row, State.READY)


def test_a_process_that_has_the_pid_of_a_backend_now_is_never_touched(node: Node) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        row = node.add(
            "exits-at-once", state=State.READY, pid=bystander.pid, pid_started=1.0, ready_at=datetime.now(UTC)
        )
        node.begin()
        node.until(row, State.BACKOFF)
        node.store.wish(row.id, Desired.STOPPED)
        node.until(row, State.STOPPED)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_backend_whose_pid_was_never_recorded_is_found_by_its_marker_and_stopped(node: Node) -> None:
    row = node.add("good", state=State.STARTING)
    environment = {**os.environ, MARKER: marker(node.layout.owner, row.id)}
    unrecorded = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)
    node.begin()
    node.until(row, State.BACKOFF)
    assert unrecorded.wait(5) == -signal.SIGTERM
    node.until(row, State.READY)


def test_an_orphan_that_no_instance_claims_is_stopped(node: Node) -> None:
    environment = {**os.environ, MARKER: marker(node.layout.owner, 99)}
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)
    node.begin()
    assert orphan.wait(10) == -signal.SIGTERM


def test_backends_run_on_while_the_database_is_away_and_what_happened_is_caught_up(node: Node) -> None:
    node.begin()
    kept, killed = node.ready(), node.add("slow-load")
    killed = node.until(killed, State.LOADING)
    node.store.away = True
    os.kill(killed.pid or 0, signal.SIGKILL)
    time.sleep(0.5)
    assert kept.identity is not None
    assert kept.identity.is_alive()
    node.store.away = False
    node.until(killed, State.BACKOFF)
    assert node.store.row(kept.id) == kept


def test_an_agent_that_stops_takes_its_backends_along_and_leaves_what_is_wanted(node: Node) -> None:
    node.begin()
    ready, loading = node.ready(), node.until(node.add("slow-load"), State.LOADING)
    node.end(keep_backends=False)
    assert node.processes() == []
    for row in (ready, loading):
        now = node.store.row(row.id)
        assert now is not None
        assert (now.state, now.desired) == (State.STOPPED, Desired.RUNNING)
    node.begin()
    node.until(ready, State.READY)


def test_an_agent_stops_its_backends_even_when_the_database_is_away(node: Node) -> None:
    node.begin()
    row, loading = node.ready(), node.until(node.add("slow-load"), State.LOADING)
    node.store.away = True
    node.end(keep_backends=False)
    assert node.processes() == []
    node.store.away = False
    node.begin()
    node.until(row, State.BACKOFF)
    node.until(loading, State.BACKOFF)


def test_an_instance_that_was_deleted_loses_its_backend(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.runtime.supervisor.SWEEP_SECONDS", 0.1)
    node.begin()
    row = node.ready()
    node.store.remove(row.id)
    wait_for(lambda: not node.processes())
