"""A disk that is full at any write, or cannot be written to at all: named, nothing lost, and the next try finishes."""

import os
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from gallery.services import queue
from gallery.states import State
from localai_admin.lib.units import bytes_text
from tests.fakes.bad_world import mount
from tests.fakes.http_server import Page, Server
from tests.fakes.two_files import GOOD, GOOD_BODY, LARGE, SICK, TwoFiles, at_move, at_progress

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = 4096
MIB = 1 << 20
SMALL = random.Random(4).randbytes(20_000)
#: So large that its room is taken before its bytes come.
RESERVED = random.Random(5).randbytes(5 * MIB)
FULL = re.compile(r"The disk of (.+) is full: (?:([\d.]+ (?:B|KiB|MiB)) more|more space) is needed\.")


class SmallDisk:
    """A file system of its own, which the models folder is on and the console's data is not."""

    def __init__(self, path: Path) -> None:
        self.path, self.models, self._filler = path, path / "models", path / "filler"

    def fill(self, leave: int) -> None:
        """Take all the space but so many bytes."""
        self._filler.unlink(missing_ok=True)
        stats = os.statvfs(self.path)
        with suppress(OSError):  # Somebody else takes some of it meanwhile: it is full all the same.
            self._filler.write_bytes(bytes(stats.f_bavail * stats.f_frsize - leave))

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path, settings: Any) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)):
        pytest.skip("needs the right to mount a small tmpfs: run it as root")
    try:
        found = SmallDisk(path)
        found.models.mkdir()
        settings.MODELS_PATH = found.models
        assert path.stat().st_dev != settings.DATA.stat().st_dev
        yield found
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def two(server: Server, as_administrator: Client, disk: SmallDisk) -> TwoFiles:
    queue.HUEY.flush()
    two = TwoFiles(server, as_administrator, disk.models)
    two.install_earlier()
    return two


def told(two: TwoFiles, disk: SmallDisk) -> str:
    """The job has failed because the disk is full, and its page says so; returns how much is missing, if known."""
    assert (two.job.state, two.job.cause) == (State.FAILED, "no_space"), two.job.error
    found = FULL.fullmatch(two.job.error)
    assert found, two.job.error
    assert found[1] in {str(disk.models), str(disk.path)}
    amount = f"{found[2]} more" if found[2] else "more space"
    assert two.job.action == f"Free {amount} there and try again; the bytes that are here are kept."
    assert amount != "0 B more"
    page = two.page()
    assert two.job.error in page
    assert two.job.action in page
    assert two.offers("retry")
    return found[2] or ""


@pytest.mark.parametrize("said", [True, False], ids=["size known", "size unknown before"])
def test_a_disk_that_is_full_at_any_write_of_an_install(two: TwoFiles, disk: SmallDisk, said: bool) -> None:
    """A page more each time, and each time from the beginning: journals, bytes, what is noted, the commit's texts."""
    before = two.visible()
    two.offer(SMALL)
    failures = 0
    for pages in range(60):
        disk.fill(leave=pages * PAGE)
        # Who does not say the size when asked for it lets the disk run full under the bytes.
        two.suffer(**{} if said else {"turns": [Page(SMALL, status=403)]})
        two.ask()
        two.run()
        if two.job.state == State.DONE:
            break
        told(two, disk)
        assert two.visible() == before
        failures += 1
        two.end()
    assert failures >= len(SMALL + GOOD_BODY) // PAGE + 4
    two.assert_installed()


def test_a_disk_that_gets_room_bit_by_bit_is_used_from_where_it_was(two: TwoFiles, disk: SmallDisk) -> None:
    two.offer(SMALL)
    two.ask()
    kept: list[int] = []
    for pages in range(60):
        disk.fill(leave=pages * PAGE)
        two.suffer(turns=[Page(SMALL, status=403)])
        two.run()
        if two.job.state == State.DONE:
            break
        told(two, disk)
        kept.append(two.kept(SICK))
        two.ask_again()
    assert kept == sorted(kept)
    assert max(kept) > PAGE
    two.assert_installed()
    assert two.job.bytes_fetched <= len(SMALL) + len(GOOD_BODY) + PAGE * len(kept)


def test_a_disk_that_has_no_room_for_a_large_file_says_so_before_its_bytes_come(two: TwoFiles, disk: SmallDisk) -> None:
    before = two.visible()
    two.offer(RESERVED)
    # Nobody says its size before it is asked for: the room is found missing when it is to be taken.
    two.suffer(turns=[Page(RESERVED, status=403)])
    two.ask()
    disk.fill(leave=3 * MIB)
    two.run()
    assert told(two, disk) == "2.0 MiB"
    assert two.kept(SICK) == 0
    assert two.visible() == before
    disk.free()
    two.ask_again()
    two.run()
    two.assert_installed()


def test_the_room_that_was_taken_for_a_file_is_there_for_it_when_it_goes_on(two: TwoFiles, disk: SmallDisk) -> None:
    two.offer(RESERVED)
    two.ask()
    two.begin(MIB)
    disk.fill(leave=64 << 10)
    two.suffer()
    two.run()
    two.assert_installed()


def test_a_disk_that_fills_up_in_the_middle_keeps_what_came(two: TwoFiles, disk: SmallDisk) -> None:
    before = two.visible()
    two.offer(LARGE, LARGE[::-1], pause=0.25)
    two.ask()
    two.run(at_progress(lambda: disk.fill(leave=0), beyond=300_000))
    missing = told(two, disk)
    kept = two.kept(SICK)
    assert 100_000 < kept < len(LARGE)
    # Of both files together, also when only one of them had no room for its next bytes.
    here = sum(-(-two.kept(name) // PAGE) * PAGE for name in (SICK, GOOD))
    assert missing == bytes_text(2 * len(LARGE) - here)
    assert two.visible() == before
    disk.free()
    before_that, kept_of_both = two.job.bytes_fetched, two.kept(SICK) + two.kept(GOOD)
    two.suffer()
    two.ask_again()
    two.run()
    two.assert_installed()
    assert two.job.bytes_fetched - before_that <= 2 * len(LARGE) - kept_of_both


def test_a_disk_that_nothing_can_be_written_to_is_named_and_read_as_before(two: TwoFiles, disk: SmallDisk) -> None:
    before = two.visible()
    two.offer(SMALL)
    two.ask()
    assert mount("-o", "remount,ro", str(disk.path))
    try:
        two.run()
    finally:
        assert mount("-o", "remount,rw", str(disk.path))
    assert (two.job.state, two.job.cause) == (State.FAILED, "local_io")
    assert two.job.error == f"The models folder {disk.models} cannot be written to: Read-only file system."
    assert two.job.error in two.page()
    assert "Check the permissions" in two.page()
    assert two.visible() == before
    two.ask_again()
    two.run()
    two.assert_installed()


def test_a_disk_that_becomes_read_only_before_the_commit_is_named(two: TwoFiles, disk: SmallDisk) -> None:
    before = two.visible()
    two.offer(SMALL)
    two.ask()

    def freeze() -> None:
        assert mount("-o", "remount,ro", str(disk.path))

    try:
        two.run(at_move(State.COMMITTING, freeze))
    finally:
        assert mount("-o", "remount,rw", str(disk.path))
    assert (two.job.state, two.job.cause) == (State.FAILED, "local_io"), two.job.error
    assert two.visible() == before
    two.server.sent.clear()
    two.ask_again()
    two.run()
    two.assert_installed()
    assert two.server.sent["/sick"] == two.server.sent["/good"] == 0


def test_a_database_that_is_full_when_the_revision_is_recorded_loses_nothing(two: TwoFiles) -> None:
    two.offer(SMALL)
    # So much that the row of the revision does not fit into a page that is there.
    two.entry.data["overrides"]["description"] = "long " * 4000
    two.entry.save()
    two.ask()
    try:
        two.run(at_move(State.COMMITTING, lambda: pages(1)))
    finally:
        pages(1 << 30)
    two.job.refresh_from_db()
    assert two.job.state in {State.COMMITTING, State.RETRYING}
    # The files are in place: the model works, and the next try only records it.
    assert two.visible()[SICK] == SMALL
    two.server.sent.clear()
    two.lose_worker()
    two.run()
    two.assert_installed()
    assert two.server.sent.total() == 0


def pages(most: int) -> None:
    """How large the database may become; never less than it is."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute(f"PRAGMA max_page_count = {most}")
