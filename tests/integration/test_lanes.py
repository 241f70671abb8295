"""A real worker with several installs at once: limits that change while they run, pauses, and a stop that holds."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_worker import LARGE, SMALL, Node, SlowServer

pytestmark = pytest.mark.timeout(120)

NAMES = ["a", "b", "c", "d", "e"]
ASK_ALL = """
from gallery.models import Entry, Gallery
from gallery.services import installs, limits, refresh
refresh.sync_from_settings()
refresh.refresh_now(Gallery.objects.get(name="own").pk)
limits.change(None, at_once=2, connections=1)
print("JOB", *[installs.request_install(Entry.objects.get(name=name), "", None).pk.hex for name in {names!r}])
"""
CALL = """
from gallery.models import Job
from gallery.services import jobs, limits, turns
job = lambda pk: Job.objects.get(pk=pk)
{what}
"""
MOVE_AT_ONCE = """
import threading
from django.db import connections
failures = []
def move(pk, step):
    try:
        turns.move(job(pk), step, None)
    except Exception as error:
        failures.append(error)
    finally:
        connections.close_all()
steps = list(turns.Step)
threads = [threading.Thread(target=move, args=(pk, steps[n % 3])) for n, pk in enumerate({pks!r} * 3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failures, failures
assert len(set(Job.objects.values_list("rank", flat=True))) == len({pks!r})
assert Job.objects.in_line().count() == len({pks!r})
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    server = SlowServer({"/large": LARGE, "/small": SMALL})
    node = Node(tmp_path, server, [*NAMES, "two-files"])
    try:
        yield node
    finally:
        if node.worker and node.worker.poll() is None:
            node.worker.kill()
            node.worker.wait(5)
        server.http.shutdown()
        server.http.server_close()


def ask_all(node: Node) -> list[str]:
    output = node.manage("shell", "-v", "0", "-c", ASK_ALL.format(names=NAMES))
    return output.rpartition("JOB ")[2].split()


def call(node: Node, what: str) -> None:
    node.manage("shell", "-v", "0", "-c", CALL.format(what=what))


def states(node: Node, pks: list[str]) -> list[str]:
    return [node.job(pk)[0] for pk in pks]


def until(node: Node, pks: list[str], count: int, state: str, seconds: float = 20) -> float:
    """Until so many of the jobs are in the state. Returns the seconds it took."""
    began = time.monotonic()
    while states(node, pks).count(state) != count:
        assert time.monotonic() - began < seconds, states(node, pks)
        time.sleep(0.05)
    return time.monotonic() - began


def sum_of_bytes(node: Node) -> int:
    return int(str(node.query("select sum(bytes_done) from gallery_job")[0][0]))


def test_as_many_are_at_work_as_the_limit_says_and_another_limit_holds_at_once(node: Node) -> None:
    node.server.pause = 1.0
    pks = ask_all(node)
    node.start()
    until(node, pks, 2, "downloading")
    time.sleep(1.5)
    assert states(node, pks) == ["downloading", "downloading", "queued", "queued", "queued"]
    call(node, "limits.change(None, at_once=4)")
    assert until(node, pks, 4, "downloading") < 4
    assert states(node, pks)[4] == "queued"
    call(node, "limits.change(None, at_once=1)")
    time.sleep(1.5)
    assert states(node, pks).count("downloading") == 4, "a smaller number let go of what had begun"
    node.server.pause = 0.0
    until(node, pks, 5, "done", 60)


def test_short_work_does_not_wait_for_long_work(node: Node) -> None:
    node.server.pause = 1.0
    pks = ask_all(node)
    call(node, "limits.change(None, at_once=32)")
    node.start()
    until(node, pks, 5, "downloading")
    output = node.manage(
        "shell", "-v", "0", "-c",
        "from gallery.models import Gallery\nfrom gallery.services import refresh\n"
        "print('JOB', refresh.request_refresh(Gallery.objects.get(), None).pk.hex)",
    )  # fmt: skip
    node.until(output.rpartition("JOB ")[2].strip(), "done", 10)
    assert states(node, pks) == ["downloading"] * 5


def test_a_stop_puts_all_of_them_back_in_time(node: Node) -> None:
    node.server.pause = 0.5
    pks = ask_all(node)
    call(node, "limits.change(None, at_once=5)")
    node.start()
    until(node, pks, 5, "downloading")
    began = time.monotonic()
    assert node.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 6
    assert [node.job(pk)[:2] for pk in pks] == [("queued", 0)] * 5


def test_of_a_killed_worker_all_go_on_by_themselves_in_their_order(node: Node) -> None:
    node.server.pause = 1.0
    pks = ask_all(node)
    node.start()
    until(node, pks, 2, "downloading")
    node.end(signal.SIGKILL)
    call(node, f"turns.move(job({pks[4]!r}), turns.Step.FRONT, None)")
    node.start()
    # What was at work keeps its place before those that only waited.
    until(node, pks[:2], 2, "downloading")
    assert states(node, pks)[2:] == ["queued"] * 3
    node.server.pause = 0.0
    until(node, pks, 5, "done", 60)
    started = node.query("select id from gallery_job where kind = 'install' order by started_at")
    assert [row[0] for row in started][2] == pks[4]


def test_a_paused_install_lets_go_outlives_a_restart_and_fetches_no_byte_twice(node: Node) -> None:
    node.server.pause = 0.5
    pk = node.ask()
    node.start()
    node.until_bytes(512 << 10)
    call(node, f"assert jobs.request_pause(job({pk!r}), None)")
    began = time.monotonic()
    node.until(pk, "paused", 5)
    assert time.monotonic() - began < 1.5
    kept = node.bytes_on_disk()
    assert node.end(signal.SIGTERM) == 0
    node.start()
    time.sleep(2)
    assert node.job(pk)[:2] == ("paused", 0)
    assert node.bytes_on_disk() == kept
    node.server.ranges.clear()
    node.server.sent = 0
    node.server.pause = 0.0
    call(node, f"assert jobs.resume(job({pk!r}), None)")
    node.until(pk, "done")
    assert '"1"' in node.server.conditions
    # What was under way on the line when it was paused is all that may have come twice.
    assert node.server.sent <= len(LARGE) + len(SMALL) - kept + (256 << 10)
    assert (node.models / "two-files.gguf").read_bytes() == LARGE


def test_many_who_move_at_once_do_no_harm(node: Node) -> None:
    pks = ask_all(node)
    call(node, MOVE_AT_ONCE.format(pks=pks))


def test_a_bandwidth_holds_for_all_together_and_can_be_lifted(node: Node) -> None:
    pks = ask_all(node)
    rate = 512 << 10
    call(node, f"limits.change(None, at_once=4, connections=4, bandwidth={rate})")
    node.start()
    until(node, pks, 4, "downloading")
    at = time.monotonic()
    time.sleep(6)
    done, seconds = sum_of_bytes(node), time.monotonic() - at
    assert rate * seconds * 0.5 < done < rate * (seconds + 2)
    call(node, "limits.change(None, bandwidth=None)")
    until(node, pks, 5, "done", 20)
