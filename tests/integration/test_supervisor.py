"""The supervisor with real backends: each test starts processes of `tests/fakes/backends`, and none may outlive it."""

import os
import signal
import socket
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.runtime import logs, ports, probes
from models.runtime.reasons import BUSY
from models.states import Desired, State
from tests.fakes.node import FAKES, Node, wait_for


def test_a_wanted_model_goes_from_stopped_to_ready_and_its_process_is_recorded(node: Node) -> None:
    node.begin()
    row = node.ready()
    assert node.states(row) == [State.STARTING, State.LOADING, State.READY]
    assert row.identity is not None
    assert row.identity.is_alive()
    assert [identity.pid for identity in node.processes()] == [row.pid]
    assert row.backend == "good"
    assert row.ready_at is not None
    assert "loading good.bin" in logs.tail(node.layout.log_of("good"))


def test_a_stopped_model_is_freed_and_leaves_no_process(node: Node) -> None:
    node.begin()
    row = node.ready()
    node.store.wish(row.id, Desired.STOPPED)
    row = node.until(row, State.STOPPED)
    assert node.processes() == []
    assert (row.pid, row.address, row.ready_at, row.reason) == (None, "", None, "stopped")
    assert logs.last_line(node.layout.log_of("good")) == "free"


def test_a_backend_that_ignores_sigterm_is_killed(node: Node) -> None:
    node.layout = replace(node.layout, stop_seconds=0.5)
    node.begin()
    row = node.ready("ignores-term")
    node.store.wish(row.id, Desired.STOPPED)
    assert node.until(row, State.STOPPED).reason == "stopped; it had to be killed"
    assert node.processes() == []


def test_a_stopped_backend_that_is_frozen_is_killed(node: Node) -> None:
    node.layout = replace(node.layout, stop_seconds=0.5)
    node.begin()
    row = node.ready()
    os.kill(row.pid or 0, signal.SIGSTOP)
    node.store.wish(row.id, Desired.STOPPED)
    node.until(row, State.STOPPED)
    assert node.processes() == []


def test_children_are_stopped_too_and_so_is_one_that_left_the_session(node: Node) -> None:
    node.begin()
    row = node.ready("forks-children")
    wait_for(lambda: len(node.processes()) == 4)
    node.store.wish(row.id, Desired.STOPPED)
    node.until(row, State.STOPPED)
    assert node.processes() == []


def test_a_backend_that_exits_at_once_backs_off_with_its_exit_code_and_last_words(node: Node) -> None:
    node.begin()
    row = node.until(node.add("exits-at-once"), State.BACKOFF)
    assert "ended while it was starting: exit code 3." in row.reason
    assert "cannot find libmagic.so" in row.reason
    assert (row.attempt, row.pid) == (1, None)
    assert row.next_try_at is not None
    assert 1 < (row.next_try_at - datetime.now(UTC)).total_seconds() <= 2
    assert logs.last_line(logs.first_failure_path(node.layout.log_of("exits-at-once"))) == "cannot find libmagic.so"


def test_a_backend_that_keeps_failing_is_given_up_on_until_somebody_wishes_again(node: Node) -> None:
    node.begin()
    row = node.until(node.add("exits-at-once", attempt=4), State.FAILED)
    assert "after 5 failures in a row" in row.reason
    node.store.wish(row.id, Desired.RUNNING)
    assert node.until(row, State.BACKOFF).attempt == 1


def test_a_backend_that_never_answers_is_stopped_and_tried_again(node: Node) -> None:
    node.layout = replace(node.layout, start_seconds=0.5)
    node.begin()
    row = node.until(node.add("never-healthy"), State.BACKOFF)
    assert "did not answer Health within 0.5 s" in row.reason
    assert node.processes() == []


def test_a_refused_load_says_what_the_backend_said(node: Node) -> None:
    node.begin()
    row = node.until(node.add("refuses-load"), State.BACKOFF)
    assert "unknown model architecture" in row.reason
    assert node.processes() == []


def test_a_refused_load_of_a_file_that_is_not_there_is_not_tried_again(node: Node) -> None:
    row = node.add("refuses-load")
    (node.layout.models / "refuses-load.yaml").write_text(
        "name: refuses-load\nbackend: refuses-load\nparameters:\n  model: gone.gguf\n"
    )
    node.begin()
    row = node.until(row, State.FAILED)
    assert row.reason == "The model file gone.gguf is not in the models folder; install the model again."


def test_a_load_that_takes_too_long_is_broken_off(node: Node) -> None:
    node.layout = replace(node.layout, load_seconds=0.5, stop_seconds=0.5)
    node.begin()
    row = node.until(node.add("slow-load"), State.BACKOFF)
    assert "did not finish loading the model within 0.5 s" in row.reason
    assert node.processes() == []


def test_a_stop_wish_interrupts_a_load(node: Node) -> None:
    node.begin()
    row = node.until(node.add("slow-load"), State.LOADING)
    node.store.wish(row.id, Desired.STOPPED)
    node.until(row, State.STOPPED)
    assert node.states(row)[-2:] == [State.STOPPING, State.STOPPED]
    assert node.processes() == []


def test_a_stop_wish_interrupts_a_start(node: Node) -> None:
    node.begin()
    row = node.until(node.add("never-healthy"), State.STARTING, seen=lambda now: now.pid is not None)
    node.store.wish(row.id, Desired.STOPPED)
    node.until(row, State.STOPPED)
    assert node.processes() == []


def test_a_stop_wish_ends_a_backoff_at_once(node: Node) -> None:
    node.begin()
    row = node.until(node.add("exits-at-once"), State.BACKOFF)
    node.store.wish(row.id, Desired.STOPPED)
    node.until(row, State.STOPPED)


def test_a_killed_backend_backs_off_with_its_exit_code_and_is_ready_again(node: Node) -> None:
    node.begin()
    row = node.ready()
    first = row.pid
    os.kill(first or 0, signal.SIGKILL)
    row = node.until(row, State.BACKOFF)
    assert "killed, probably because memory ran out (SIGKILL, exit code -9)" in row.reason
    assert node.until(row, State.READY).pid != first


def test_a_backend_that_dies_when_ready_says_why(node: Node) -> None:
    node.begin()
    row = node.until(node.add("dies-when-ready"), State.BACKOFF)
    assert State.READY in node.states(row)
    assert "aborted after an error of its own (SIGABRT, exit code -6)" in row.reason
    assert "GGML_ASSERT" in row.reason


def test_a_dead_leader_takes_the_children_it_left_along(node: Node) -> None:
    node.begin()
    row = node.ready("forks-children")
    wait_for(lambda: len(node.processes()) == 4)
    left = node.processes()
    os.kill(row.pid or 0, signal.SIGKILL)
    node.until(row, State.BACKOFF)
    assert not any(identity.is_alive() for identity in left)


def test_a_backend_that_runs_but_stopped_listening_is_started_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PATIENCE", 2)
    node.begin()
    row = node.until(node.add("stops-listening"), State.BACKOFF)
    assert State.READY in node.states(row)
    assert "nothing listens on 127.0.0.1:" in row.reason
    assert node.processes() == []


def test_a_busy_backend_is_named_and_never_killed_for_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PATIENCE", 2)
    monkeypatch.setattr(probes, "DEADLINE", 0.2)
    monkeypatch.setattr(probes, "INTERVAL", 0.1)
    node.begin()
    row = node.ready("hangs-after-load")
    row = node.until(row, State.READY, seen=lambda now: now.reason == BUSY)
    time.sleep(1)
    assert node.store.row(row.id) == row
    assert row.identity is not None
    assert row.identity.is_alive()


def test_a_stuck_backend_does_not_hold_up_the_others(node: Node) -> None:
    node.layout = replace(node.layout, stop_seconds=0.5)
    node.begin()
    stuck, other = node.ready("hangs-after-load"), node.ready()
    os.kill(stuck.pid or 0, signal.SIGSTOP)
    os.kill(other.pid or 0, signal.SIGKILL)
    began = time.monotonic()
    node.until(other, State.BACKOFF)
    assert time.monotonic() - began < 4


def test_a_log_that_is_filled_is_cut_while_the_backend_runs(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.shorten, "__defaults__", (100_000,))
    node.begin()
    row = node.ready("fills-log")
    previous = logs.previous_path(node.layout.log_of("fills-log"))
    wait_for(previous.exists)
    assert node.layout.log_of("fills-log").stat().st_size < previous.stat().st_size + 10_000_000
    node.until(row, State.READY)


def test_a_missing_backend_fails_at_once_and_says_where_it_was_looked_for(node: Node) -> None:
    node.begin()
    row = node.until(node.add("not-installed"), State.FAILED)
    assert "'not-installed'" in row.reason
    assert str(FAKES) in row.reason


def test_a_run_file_that_may_not_be_executed_fails_at_once_with_what_to_do(node: Node, tmp_path: Path) -> None:
    (tmp_path / "backends" / "plain").mkdir(parents=True)
    (tmp_path / "backends" / "plain" / "run.sh").write_text("#!/bin/sh\n")
    node.layout = replace(node.layout, backends=(tmp_path / "backends",))
    node.begin()
    assert "Make it executable" in node.until(node.add("plain"), State.FAILED).reason


def test_a_command_that_a_run_file_misses_is_named(node: Node, tmp_path: Path) -> None:
    (tmp_path / "backends" / "plain").mkdir(parents=True)
    run_file = tmp_path / "backends" / "plain" / "run.sh"
    run_file.write_text("#!/bin/sh\nno-such-python server.py\n")
    run_file.chmod(0o755)
    node.layout = replace(node.layout, backends=(tmp_path / "backends",))
    node.begin()
    row = node.until(node.add("plain"), State.BACKOFF)
    assert "a command that its run file calls was not found (exit code 127)" in row.reason
    assert "no-such-python" in row.reason


def test_a_model_without_a_backend_fails_with_what_to_do(node: Node) -> None:
    row = node.add("good")
    (node.layout.models / "good.yaml").write_text("name: good\nparameters:\n  model: good.bin\n")
    node.begin()
    assert "names no backend" in node.until(row, State.FAILED).reason


def test_a_model_whose_configuration_is_gone_fails_with_what_to_do(node: Node) -> None:
    row = node.add("good")
    (node.layout.models / "good.yaml").unlink()
    node.begin()
    assert "install it again" in node.until(row, State.FAILED).reason


def test_a_port_that_is_taken_between_the_choice_and_the_start_is_not_used(node: Node) -> None:
    with socket.socket() as squatter:
        squatter.bind((ports.LOOPBACK, 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        choices = iter([taken])

        def choose(avoid: Collection[int]) -> int:
            return next(choices, None) or ports.free_port(avoid)

        node.begin(choose_port=choose)
        assert node.ready().address != ports.address(taken)


def test_after_a_good_run_the_failures_before_it_are_forgotten(node: Node) -> None:
    node.begin()
    row = node.ready()
    node.store.update(row.id, State.READY, attempt=3)
    time.sleep(0.3)
    assert node.until(row, State.READY).attempt == 3
    node.store.update(row.id, State.READY, ready_at=datetime.now(UTC) - timedelta(seconds=61))
    node.until(row, State.READY, seen=lambda now: now.attempt == 0)
