"""A download goes on where it was, whatever ended it."""

import hashlib
import json
import random
from contextlib import closing
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.pace import Unlimited
from gallery.downloads.patience import Patience
from gallery.downloads.progress import Snapshot
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from tests.fakes.downloads import BIG, BODY, MIB, everything, fetch, install, put_in_place, spec, stopped_at
from tests.fakes.http_server import Page, Server


def stopped(server: Server, models: Path, at: int = 100_000, **how: object) -> tuple[Ingest, FileSpec]:
    """A download that was stopped after some bytes."""
    file = spec(server.gives("/f", BODY, **how))
    stopped_at(server, Ingest(models, "job-1"), file, at)
    return Ingest(models, "job-1"), file


@pytest.mark.parametrize("how", [{}, {"etag": "", "last_modified": "Mon, 06 Apr 2026 10:00:00 GMT"}, {"etag": 'W/"1"'}])
def test_a_broken_download_goes_on_where_it_was(server: Server, models: Path, how: dict[str, object]) -> None:
    ingest, file = stopped(server, models, **how)
    fetch(ingest, file)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": BODY}
    assert server.asked("/f")[-1].headers["range"] == "bytes=100000-"


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": False},  # 200 to a range
        {"etag": '"2"'},  # another version, told by If-Range
        {"shift": 7},  # another range than was asked for
        {"shift": -7},
    ],
)
def test_a_server_that_does_not_go_on_is_begun_anew(server: Server, models: Path, change: dict[str, object]) -> None:
    ingest, file = stopped(server, models)
    for name, value in change.items():
        setattr(server.pages["/f"], name, value)
    told: list[Snapshot] = []
    fetch(ingest, file, told=told)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": BODY}
    assert [snapshot.done for snapshot in told] == sorted(snapshot.done for snapshot in told)


def test_another_version_is_not_glued_to_the_old_one_even_without_a_digest(server: Server, models: Path) -> None:
    new = bytes(reversed(BODY))
    file = spec(server.gives("/f", BODY, etag='W/"1"'), None)
    stopped_at(server, Ingest(models, "job-1"), file, 1000)
    server.gives("/f", new, etag='W/"2"')
    install(models, file)
    assert everything(models) == {"model.gguf": new}


def test_a_piece_of_a_file_that_has_grown_is_not_taken_for_its_beginning(server: Server, models: Path) -> None:
    """The server gives both versions the same ETag, and nobody knows a digest."""
    file = spec(server.gives("/f", BODY), None)
    stopped_at(server, Ingest(models, "job-1"), file, 100_000)
    server.gives("/f", grown := BODY[::-1] + BODY)
    install(models, file)
    assert everything(models) == {"model.gguf": grown}


def test_without_anything_to_tell_versions_apart_a_download_is_begun_anew(server: Server, models: Path) -> None:
    ingest, file = stopped(server, models, etag="")
    fetch(ingest, file)
    assert "range" not in server.asked("/f")[-1].headers


def test_a_file_that_has_shrunk_is_begun_anew(server: Server, models: Path) -> None:
    ingest, _ = stopped(server, models)
    server.gives("/f", b"short")
    file = spec(server.url("/f"), b"short")
    fetch(ingest, file)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": b"short"}


def test_a_worker_that_died_after_the_last_byte_needs_no_connection(server: Server, models: Path) -> None:
    file = FileSpec("model.gguf", hashlib.sha256(BODY).hexdigest(), server.gives("/f", BODY), size=len(BODY))
    ingest = Ingest(models, "job-1")
    with closing(ingest.open(file)) as part:
        part.begin('"1"', len(BODY))
        part.write(memoryview(BODY), 0)
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    assert ingest.is_verified(file)
    assert server.seen == []


def test_pieces_of_a_server_that_gives_little_at_a_time_are_put_together(server: Server, models: Path) -> None:
    ingest, file = stopped(server, models, most=70_000)
    fetch(ingest, file)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": BODY}
    assert len(server.asked("/f")) == 4


def test_a_line_that_breaks_again_and_again_after_many_bytes_is_picked_up_at_once(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BIG, cuts=[7 * MIB] * 4), BIG)
    install(models, file, patience=Patience(tries=1, worth=MIB))
    assert (models / "model.gguf").read_bytes() == BIG
    assert sum(server.sent.values()) == len(BIG)


def test_a_line_that_brings_next_to_nothing_is_tried_a_few_times(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BODY, cut=1000))
    with pytest.raises(errors.Network) as caught:
        install(models, file, patience=Patience(tries=3, first=0.01))
    assert caught.value.retry
    assert len(server.asked("/f")) == 3


def test_what_is_verified_is_not_downloaded_again(server: Server, models: Path) -> None:
    files = [spec(server.gives("/1", BODY), BODY, "1"), spec(server.gives("/2", BODY, status=503), BODY, "2")]
    ingest = Ingest(models, "job-1")
    with pytest.raises(errors.ServerFault):
        fetch(ingest, *files)
    server.gives("/2", BODY)
    fetch(Ingest(models, "job-1"), *files)
    assert len(server.asked("/1")) == 1


def test_an_address_that_changed_is_another_file(server: Server, models: Path) -> None:
    ingest, file = stopped(server, models)
    server.gives("/g", BODY)
    fetch(ingest, FileSpec(file.filename, file.sha256, server.url("/g")))
    assert "range" not in server.asked("/g")[-1].headers


def test_after_a_loss_of_power_only_synced_bytes_are_trusted(server: Server, models: Path) -> None:
    ingest, file = stopped(server, models)
    state = ingest.folder / "state.json"
    saved = json.loads(state.read_text())
    saved["boot"] = "another start of the machine"
    next(iter(saved["files"].values()))["synced"] = [[0, 5_000], [20_000, 30_000]]
    state.write_text(json.dumps(saved))
    ingest = Ingest(models, "job-1")
    fetch(ingest, file, pace=Unlimited(1))
    assert [request.headers.get("range") for request in server.asked("/f")[-2:]] == ["bytes=5000-19999", "bytes=30000-"]
    assert ingest.is_verified(file)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"files": 3}', b"\xff"])
def test_a_damaged_state_means_to_begin_anew(server: Server, models: Path, damage: bytes) -> None:
    ingest, file = stopped(server, models)
    (ingest.folder / "state.json").write_bytes(damage)
    install(models, file)
    assert everything(models) == {"model.gguf": BODY}


def test_a_journal_that_is_damaged_means_to_begin_anew(server: Server, models: Path) -> None:
    ingest, file = stopped(server, models)
    next(ingest.folder.glob("*.ranges")).write_bytes(b'{"here": [[0, 300000]], "total"')
    install(models, file)
    assert everything(models) == {"model.gguf": BODY}


def test_bytes_without_a_journal_are_not_trusted_nor_written_to(server: Server, models: Path) -> None:
    ingest, file = stopped(server, models)
    part = next(ingest.folder.glob("*.part"))
    next(ingest.folder.glob("*.ranges")).unlink()
    (models / "of another model").hardlink_to(part)
    before = (models / "of another model").read_bytes()
    install(models, file)
    assert (models / "of another model").read_bytes() == before
    assert (models / "model.gguf").read_bytes() == BODY


def test_a_file_that_changes_in_the_middle_is_begun_anew_once(server: Server, models: Path) -> None:
    new = random.Random(9).randbytes(len(BODY))
    old = Page(BODY, etag='"old"', cut=100_000)
    file = spec(server.gives("/f", new, etag='"new"', turns=[old]), None)
    install(models, file)
    assert everything(models) == {"model.gguf": new}


def test_a_file_that_changes_all_the_time_fails_in_the_end(server: Server, models: Path) -> None:
    turns = [Page(BODY, etag=f'"{n}"', cut=100_000) for n in range(9)]
    with pytest.raises(errors.Network, match="each time it is asked"):
        install(models, spec(server.gives("/f", BODY, turns=turns)))
    assert not (models / "model.gguf").exists()
