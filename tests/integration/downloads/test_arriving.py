"""Files arrive from any ordinary server, and it is said how far they are."""

from pathlib import Path

import pytest

from gallery.downloads.progress import Snapshot
from gallery.downloads.store import Ingest
from tests.fakes.downloads import BODY, everything, fetch, install, put_in_place, spec
from tests.fakes.http_server import Server


@pytest.mark.parametrize(
    "how", [{}, {"ranges": False}, {"head": False}, {"chunked": True}, {"length": -1}, {"etag": ""}]
)
def test_a_file_arrives_from_any_ordinary_server(server: Server, models: Path, how: dict[str, object]) -> None:
    install(models, spec(server.gives("/f", BODY, **how)))
    assert everything(models) == {"model.gguf": BODY}


def test_an_empty_file_is_a_file(server: Server, models: Path) -> None:
    install(models, spec(server.gives("/f", b""), b""))
    assert everything(models) == {"model.gguf": b""}


def test_several_files_go_to_their_folders(server: Server, models: Path) -> None:
    one = spec(server.gives("/1", b"one"), b"one", "a/b/one.bin")
    two = spec(server.gives("/2", b"two"), None, "a/two.bin")
    install(models, one, two)
    assert everything(models) == {"a/b/one.bin": b"one", "a/two.bin": b"two"}
    assert (models / "a/b/one.bin").stat().st_mode & 0o777 == 0o644


def test_a_file_of_this_machine_is_copied(models: Path, tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "f").write_bytes(BODY)
    ingest = Ingest(models, "job-1")
    file = spec(f"file://{tmp_path}/shelf/f")
    fetch(ingest, file, file_roots=[tmp_path / "shelf"])
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": BODY}


def test_nothing_is_seen_before_the_commit(server: Server, models: Path) -> None:
    ingest = Ingest(models, "job-1")
    fetch(ingest, spec(server.gives("/f", BODY)))
    assert [path.name for path in models.iterdir()] == [".ingest"]


def test_progress_counts_all_files_and_ends_at_the_total(server: Server, models: Path) -> None:
    told: list[Snapshot] = []
    files = [spec(server.gives(f"/{n}", BODY), BODY, f"{n}.bin") for n in range(3)]
    fetch(Ingest(models, "job-1"), *files, told=told)
    assert [snapshot.done for snapshot in told] == sorted(snapshot.done for snapshot in told)
    assert (told[-1].done, told[-1].total) == (3 * len(BODY), 3 * len(BODY))
    assert {file.status for file in told[-1].files} == {"verified"}


def test_the_total_is_unknown_while_one_size_is(server: Server, models: Path) -> None:
    told: list[Snapshot] = []
    files = [spec(server.gives("/1", BODY), BODY, "1"), spec(server.gives("/2", BODY, length=-1, wait=0.3), BODY, "2")]
    fetch(Ingest(models, "job-1"), *files, told=told)
    middle = next(snapshot for snapshot in told if snapshot.files[1].status == "downloading")
    assert middle.total is None
    assert middle.eta is None
    assert told[-1].total == 2 * len(BODY)
    assert told[-1].fetched == 2 * len(BODY)
