"""A file comes over several connections, as many as help and as allowed; several files come side by side."""

import random
import time
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.pace import Unlimited
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from localai_admin.lib.net import Timeouts
from tests.fakes.downloads import BIG, MIB, Stop, fetch, install, spec
from tests.fakes.http_server import Page, Server

#: Slow enough that more connections help. Seconds a 64 KiB.
SLOW = 0.01


def ranges(server: Server, path: str = "/f") -> list[str]:
    return [request.headers["range"] for request in server.asked(path) if "range" in request.headers]


def test_a_slow_file_comes_over_several_connections_and_nothing_twice(server: Server, models: Path) -> None:
    install(models, spec(server.gives("/f", BIG, pause=SLOW), BIG), pace=Unlimited(4))
    assert (models / "model.gguf").read_bytes() == BIG
    assert server.busiest["/f"] >= 3
    assert all("if-range" in request.headers for request in server.asked("/f") if "range" in request.headers)
    # What was on the line when a range was taken over does not count as a part.
    assert server.sent["/f"] < len(BIG) * 1.35


def test_there_are_never_more_connections_than_allowed(server: Server, models: Path) -> None:
    install(models, spec(server.gives("/f", BIG, pause=SLOW / 4), BIG), pace=Unlimited(2))
    assert server.busiest["/f"] <= 2


def test_a_connection_that_crawls_is_relieved_of_its_range(server: Server, models: Path) -> None:
    crawls = Page(BIG, pause=0.3)
    file = spec(server.gives("/f", BIG, turns=[Page(BIG, pause=SLOW), crawls], pause=SLOW / 2), BIG)
    began = time.monotonic()
    install(models, file, pace=Unlimited(4))
    assert (models / "model.gguf").read_bytes() == BIG
    # One connection of that kind needs a minute for a part of 16 MiB.
    assert time.monotonic() - began < 30


def test_a_server_without_ranges_gives_all_of_it_over_one(server: Server, models: Path) -> None:
    install(models, spec(server.gives("/f", BIG, ranges=False, pause=SLOW / 4), BIG), pace=Unlimited(4))
    assert (models / "model.gguf").read_bytes() == BIG


@pytest.mark.parametrize("how", [{"shift": 4096}, {"most": 3 * MIB}, {"close": True}])
def test_a_server_that_gives_ranges_badly_still_gives_the_file(
    server: Server, models: Path, how: dict[str, object]
) -> None:
    install(models, spec(server.gives("/f", BIG, pause=SLOW / 2, **how), BIG), pace=Unlimited(4))
    assert (models / "model.gguf").read_bytes() == BIG


def test_a_server_that_allows_two_connections_gets_two(server: Server, models: Path) -> None:
    install(models, spec(server.gives("/f", BIG, pause=SLOW, at_once=2), BIG), pace=Unlimited(8))
    assert (models / "model.gguf").read_bytes() == BIG
    assert server.busiest["/f"] >= 2


def test_a_range_of_another_version_begins_the_file_anew(server: Server, models: Path) -> None:
    new = random.Random(10).randbytes(len(BIG))
    file = spec(server.gives("/f", BIG, pause=SLOW), None)

    def stop() -> None:
        if len(server.asked("/f")) == 2 and server.pages["/f"].etag == '"1"':
            server.gives("/f", new, etag='"2"', pause=SLOW / 4)

    ingest = Ingest(models, "job-1")
    fetch(ingest, file, stop=stop, pace=Unlimited(4))
    ingest.commit([file], [])
    assert (models / "model.gguf").read_bytes() == new


def test_connections_that_are_allowed_meanwhile_are_used(server: Server, models: Path) -> None:
    class Changing(Unlimited):
        def connections(self) -> int:
            return 1 if server.sent["/f"] < 8 * MIB else 4

    install(models, spec(server.gives("/f", BIG, pause=SLOW), BIG), pace=Changing())
    assert server.busiest["/f"] >= 3


def test_a_rate_is_kept_to_and_a_change_of_it_is_followed(server: Server, models: Path) -> None:
    class Slow(Unlimited):
        waits = 0.25

        def spend(self, count: int) -> float:
            return self.waits

    pace, began = Slow(1), time.monotonic()

    def stop() -> None:
        if time.monotonic() - began > 1:
            pace.waits = 0.0

    install(models, spec(server.gives("/f", BIG), BIG), pace=pace, stop=stop)
    assert 1 < time.monotonic() - began < 10


def test_many_small_files_come_side_by_side_over_connections_that_stay(server: Server, models: Path) -> None:
    bodies = {f"{n}.bin": random.Random(n).randbytes(50_000) for n in range(40)}
    files = [spec(server.gives(f"/{name}", body, wait=0.01), body, name) for name, body in bodies.items()]
    install(models, *files, pace=Unlimited(4))
    assert {path.name: path.read_bytes() for path in models.glob("*.bin")} == bodies
    assert server.connections <= 4


def test_all_connections_let_go_within_a_second(server: Server, models: Path) -> None:
    files = [spec(server.gives(f"/{n}", BIG, stall=MIB), BIG, f"{n}.bin") for n in range(4)]
    ingest = Ingest(models, "job-1")
    stopped_at = 0.0

    def stop() -> None:
        nonlocal stopped_at
        if all(ingest.size_of(file) >= MIB for file in files):
            stopped_at = stopped_at or time.monotonic()
            raise Stop

    with pytest.raises(Stop):
        fetch(ingest, *files, stop=stop, pace=Unlimited(4), timeouts=Timeouts(stall=20))
    assert time.monotonic() - stopped_at < 1.5
    assert all(ingest.size_of(file) >= MIB for file in files)


def test_one_file_that_fails_ends_the_others_and_keeps_their_bytes(server: Server, models: Path) -> None:
    good, bad = (
        spec(server.gives("/1", BIG, pause=SLOW), BIG, "1"),
        spec(server.gives("/2", BIG, statuses=[404], wait=0.3), BIG, "2"),
    )
    ingest = Ingest(models, "job-1")
    with pytest.raises(errors.NotFound):
        fetch(ingest, good, bad)
    assert ingest.size_of(FileSpec("1", good.sha256, good.uri)) > 0
