"""The watcher, with real children."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fakes.console import free_port

CHILD = """
import os, signal, sys, time
from pathlib import Path
note = Path(sys.argv[1])
def end(number, frame):
    with note.open("a") as file:
        file.write(f"{sys.argv[2]} stopped by {number}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else end)
signal.signal(signal.SIGHUP, end)
with note.open("a") as file:
    file.write(f"{sys.argv[2]} started as {os.getpid()}\\n")
if "dies" in sys.argv:
    sys.exit(3)
while True:
    time.sleep(0.05)
"""


def child(note: Path, name: str, *words: str, **options: object) -> dict[str, object]:
    return {
        "name": name,
        "command": [sys.executable, "-c", CHILD, str(note), name, *words],
        "stop_seconds": 1.0,
        **options,
    }


def watch(*children: dict[str, object]) -> subprocess.Popen[bytes]:
    spec = {"children": children, "host": "127.0.0.1", "port": free_port(), "sentence": "here"}
    return subprocess.Popen(
        [sys.executable, "-m", "localai_admin.lib.supervise", json.dumps(spec)], stderr=subprocess.PIPE
    )


def until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def lines(note: Path) -> list[str]:
    return note.read_text().splitlines() if note.exists() else []


def pids(note: Path) -> list[int]:
    return [int(line.split()[-1]) for line in lines(note) if "started" in line]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "note"


def finish(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate(timeout=15)
    return errors.decode()


def test_ctrl_c_stops_the_children_in_order(note: Path) -> None:
    process = watch(child(note, "web"), child(note, "agent"))
    until(lambda: len(pids(note)) == 2)
    process.send_signal(signal.SIGINT)
    finish(process)
    assert process.returncode == 0
    assert [line.split()[0] for line in lines(note) if "stopped" in line] == ["web", "agent"]


def test_a_child_that_was_killed_is_started_again(note: Path) -> None:
    process = watch(child(note, "web"))
    until(lambda: len(pids(note)) == 1)
    os.kill(pids(note)[0], signal.SIGKILL)
    until(lambda: len(pids(note)) == 2)
    process.send_signal(signal.SIGTERM)
    assert "web ended (exit code -9); starting it again" in finish(process)


def test_a_child_that_will_not_stop_is_killed(note: Path) -> None:
    process = watch(child(note, "web", "stubborn"))
    until(lambda: len(pids(note)) == 1)
    process.send_signal(signal.SIGINT)
    assert "web did not stop in 1 s and is killed" in finish(process)
    assert gone(pids(note)[0])


def test_children_hear_of_it_when_the_watcher_is_killed(note: Path) -> None:
    process = watch(child(note, "web"), child(note, "agent", orphan_signal=int(signal.SIGHUP)))
    until(lambda: len(pids(note)) == 2)
    process.kill()
    finish(process)
    until(lambda: len([line for line in lines(note) if "stopped" in line]) == 2)
    assert f"agent stopped by {signal.SIGHUP.value}" in lines(note)


def test_one_that_never_stays_alive_ends_the_watch_with_a_sentence(note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from localai_admin.lib import supervise

    monkeypatch.setattr(supervise, "LONGEST_PAUSE", 0.05)
    watcher = supervise.Watch([supervise.Child(**child(note, "web", "dies"))])
    assert watcher.run() == 1
    assert len(pids(note)) == supervise.GIVE_UP_AFTER


def test_the_watch_goes_on_when_nobody_reads_what_it_says(note: Path) -> None:
    process = watch(child(note, "web"))
    until(lambda: len(pids(note)) == 1)
    assert process.stderr
    process.stderr.close()
    os.kill(pids(note)[0], signal.SIGKILL)
    until(lambda: len(pids(note)) == 2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.wait(15)


def test_one_that_cannot_be_started_does_not_take_the_others_along(note: Path) -> None:
    process = watch(child(note, "web"), {"name": "worker", "command": [str(note.parent / "is-not-there")]})
    until(lambda: len(pids(note)) == 1)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert "worker could not be started" in finish(process)
    assert gone(pids(note)[0])


@pytest.mark.parametrize(("parent", "code", "said"), [("os.getpid()", 1, b""), ("os.getppid()", 0, b"on\n")])
def test_a_child_ends_whose_watcher_was_gone_before_it_asked_for_a_signal(parent: str, code: int, said: bytes) -> None:
    text = f"import os; from localai_admin.lib import supervise; supervise.end_with({parent}); print('on')"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (code, said)
