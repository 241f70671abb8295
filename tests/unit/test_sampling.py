"""Real child processes are measured, and the figures are those that psutil gives for the same processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from monitor.sampling import Sampler, host_memory, process_memory, sample_process

WORK = "import sys\nheld = bytearray(60 << 20)\nprint('up', flush=True)\nwhile True: sum(range(1000))\n"
IDLE = "import sys, time\nprint('up', flush=True)\ntime.sleep(60)\n"
#: A shell-like parent that does nothing, with a worker of 60 MiB below it.
PARENT = f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {WORK!r}])\nchild.wait()\n"
#: A parent that starts a child and dies: the child goes to init, but stays in the session.
ORPHAN = (
    "import subprocess, sys, time\n"
    "middle = subprocess.run([sys.executable, '-c', 'import subprocess, sys; "
    'subprocess.Popen([sys.executable, "-c", sys.argv[1]])\', sys.argv[1]])\n'
    "time.sleep(60)\n"
)


@contextmanager
def child(code: str, *arguments: str) -> Iterator[psutil.Process]:
    """A process that leads a session of its own, and is killed with all of it."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def root(process: psutil.Process) -> tuple[int, float]:
    return process.pid, process.create_time()


def seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def test_a_busy_process_costs_what_psutil_says() -> None:
    with child(WORK) as process:
        sampler = Sampler()
        sampler.sample_trees({"it": root(process)})
        before, began = seconds(process), time.monotonic()
        eventually(lambda: seconds(process) - before > 0.8)
        usage = sampler.sample_trees({"it": root(process)})["it"]
        expected = (seconds(process) - before) / (time.monotonic() - began) * 100
        assert usage.cpu_percent == pytest.approx(expected, rel=0.1)
        assert usage.rss == pytest.approx(process.memory_info().rss, rel=0.1)
        assert usage.rss > 60 << 20
        assert usage.processes == 1


def test_the_first_look_gives_the_average_since_the_process_began() -> None:
    with child(WORK) as process:
        eventually(lambda: seconds(process) > 0.5)
        usage = Sampler().sample_trees({"it": root(process)})["it"]
        expected = seconds(process) / (time.time() - process.create_time()) * 100
        assert usage.cpu_percent == pytest.approx(expected, rel=0.1)


def test_an_idle_process_costs_next_to_nothing() -> None:
    with child(IDLE) as process:
        sampler = Sampler()
        sampler.sample_trees({"it": root(process)})
        time.sleep(0.3)
        assert sampler.sample_trees({"it": root(process)})["it"].cpu_percent < 10


def test_a_tree_counts_all_of_its_processes() -> None:
    with child(PARENT) as process:
        sampler = Sampler()
        usage = sampler.sample_trees({"it": root(process)})["it"]
        assert usage.processes == 2
        expected = sum(member.memory_info().rss for member in [process, *process.children(recursive=True)])
        assert usage.rss == pytest.approx(expected, rel=0.1)
        eventually(lambda: seconds(process.children()[0]) > 0.5)
        assert sampler.sample_trees({"it": root(process)})["it"].cpu_percent > 5


def test_a_process_whose_parent_died_still_counts_by_its_session() -> None:
    with child(ORPHAN, IDLE) as process:
        sampler = Sampler()
        eventually(lambda: not [c for c in process.children(recursive=True) if c.status() != psutil.STATUS_ZOMBIE])
        assert sampler.sample_trees({"it": root(process)})["it"].processes == 2


def test_a_dead_child_no_longer_counts() -> None:
    with child(PARENT) as process:
        sampler = Sampler()
        assert sampler.sample_trees({"it": root(process)})["it"].processes == 2
        worker = process.children()[0]
        with child(IDLE) as other:
            worker.kill()
            eventually(lambda: "it" not in sampler.sample_trees({"it": root(process), "other": root(other)}))
            assert sampler.sample_trees({"other": root(other)})["other"].processes == 1


def test_a_zombie_is_not_measured() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert Sampler().sample_trees({"it": (process.pid, started)}) == {}
    assert sample_process(process.pid, started) is None
    process.wait()


def test_a_process_that_took_over_the_id_of_another_is_not_measured() -> None:
    with child(IDLE) as process:
        pid, started = root(process)
        assert Sampler().sample_trees({"it": (pid, started - 3600)}) == {}
        assert sample_process(pid, started - 3600) is None


def test_a_process_that_never_was_is_absent_and_hides_none_of_the_others() -> None:
    with child(IDLE) as process:
        usages = Sampler().sample_trees({"there": root(process), "gone": (2**22 + 1, 1.0)})
        assert list(usages) == ["there"]


def test_one_look_needs_nothing_to_compare_with() -> None:
    with child(WORK) as process:
        eventually(lambda: seconds(process) > 0.5)
        sample = sample_process(*root(process))
        assert sample is not None
        memory = process.memory_info()
        assert sample.memory_info["rss"] == pytest.approx(memory.rss, rel=0.1)
        assert sample.memory_info["vms"] == pytest.approx(memory.vms, rel=0.1)
        assert sample.memory_percent == pytest.approx(process.memory_percent(), rel=0.1)
        expected = seconds(process) / (time.time() - process.create_time()) * 100
        assert sample.cpu_percent == pytest.approx(expected, rel=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the kinds are those of Linux")
def test_memory_is_told_by_kind() -> None:
    assert set(process_memory(os.getpid())) == {"rss", "vms", "hwm", "data", "stack", "locked", "swap"}
    assert process_memory(2**22 + 1) == {}


def test_the_host_is_measured_with_the_disk_of_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    sampler = Sampler()
    time.sleep(0.1)
    usage = sampler.host(tmp_path / "not" / "yet")
    assert 0 <= usage.cpu_percent <= 100
    assert usage.cores == psutil.cpu_count()
    assert 0 < usage.memory_used < usage.memory_total
    assert usage.disk_total == psutil.disk_usage(str(tmp_path)).total
    assert 0 < usage.disk_free <= usage.disk_total


def test_the_memory_of_a_container_is_its_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{512 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{300 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon {100 << 20}\ninactive_file {200 << 20}\n")
    assert host_memory(tmp_path) == (512 << 20, 100 << 20)


def test_a_container_without_a_limit_has_the_memory_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1\n")
    assert host_memory(tmp_path)[0] == psutil.virtual_memory().total
    assert host_memory(tmp_path / "none")[0] == psutil.virtual_memory().total
