import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from models.runtime.identity import MARKER, Identity, living, marked, marker, owner_id

Start = Callable[..., "subprocess.Popen[bytes]"]
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program in a session of its own; whatever is left is killed after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str = SLEEP, **environment: str) -> "subprocess.Popen[bytes]":
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(child)
        return child

    yield run
    for child in started:
        if identity := Identity.of(child.pid):
            for process in identity.tree():
                process.kill()
        child.kill()
        child.communicate()


def identity_of(child: "subprocess.Popen[bytes]") -> Identity:
    identity = Identity.of(child.pid)
    assert identity is not None
    return identity


def test_a_running_process_is_alive_and_started_just_now(start: Start) -> None:
    identity = identity_of(start())
    assert identity.is_alive()
    assert identity.started == pytest.approx(time.time(), abs=5)
    assert identity.started == pytest.approx(psutil.Process(identity.pid).create_time(), abs=1.5)


def test_a_zombie_is_dead(start: Start) -> None:
    child = start()
    identity = identity_of(child)
    child.kill()
    deadline = time.monotonic() + 5
    while identity.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert not identity.is_alive()
    assert Identity.of(child.pid) is None
    assert living(child.pid) is None


def test_a_pid_that_another_process_has_now_is_not_ours(start: Start) -> None:
    now = identity_of(start())
    before = Identity(now.pid, now.started - 100)
    assert not before.is_alive()
    assert before.tree() == []


def test_the_tree_holds_children_of_children(start: Start) -> None:
    nested = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    child = start(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {nested!r}])")
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    tree = {process.pid for process in identity_of(child).tree()}
    assert {child.pid, grandchild} < tree
    assert len(tree) == 3


def test_the_tree_holds_what_a_dead_leader_left_in_its_session(start: Start) -> None:
    child = start("import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); input()")
    assert child.stdout is not None
    left = int(child.stdout.readline())
    identity = Identity(child.pid, time.time())
    child.wait()
    try:
        assert [process.pid for process in identity.tree()] == [left]
    finally:
        psutil.Process(left).kill()


def test_a_marked_process_is_found_without_its_pid(start: Start) -> None:
    child = start(**{MARKER: marker("folder-a", 7)})
    other = start(**{MARKER: marker("folder-b", 7)})
    # Until exec has happened the child still shows the environment it was forked with.
    deadline = time.monotonic() + 5
    while not marked("folder-a") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [identity.pid for identity in marked("folder-a")[7]] == [child.pid]
    assert other.pid not in {identity.pid for found in marked("folder-a").values() for identity in found}


def test_a_marker_that_names_no_instance_is_ignored(start: Start) -> None:
    start(**{MARKER: "folder-c:"})
    assert marked("folder-c") == {}


def test_a_data_folder_keeps_its_id(tmp_path: Path) -> None:
    first = owner_id(tmp_path)
    assert first
    assert owner_id(tmp_path) == first
    (tmp_path / "other").mkdir()
    assert owner_id(tmp_path / "other") != first
