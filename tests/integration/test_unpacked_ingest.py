"""What an archive held is committed like any file, also by a worker that comes after another one."""

import hashlib
from pathlib import Path

import pytest

from gallery.downloads.download import download
from gallery.downloads.errors import FileGone, NameTaken
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
from tests.fakes.registry import packed


class Stopped(Exception):
    pass


ARCHIVE = packed({"a.gguf": b"weights" * 1000, "sub/b": b"x"})


@pytest.fixture
def files(tmp_path: Path) -> list[FileSpec]:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "f").write_bytes(ARCHIVE)
    (tmp_path / "shelf" / "g").write_bytes(b"plain")
    (tmp_path / "models").mkdir()
    sha256 = hashlib.sha256(ARCHIVE).hexdigest()
    archive = FileSpec("m.layer-1.tar", sha256, f"file://{tmp_path}/shelf/f", len(ARCHIVE), unpack="m")
    return [archive, FileSpec("plain", "", f"file://{tmp_path}/shelf/g")]


def fetched(tmp_path: Path, files: list[FileSpec]) -> Ingest:
    ingest = Ingest(tmp_path / "models", "job")
    transport = Downloader(Client(Policy()), Resolver(Settings(file_roots=(tmp_path / "shelf",))))
    download(files, ingest, transport=transport, stop=lambda: None, on_progress=lambda _: None)
    return ingest


def visible(tmp_path: Path) -> list[str]:
    models = tmp_path / "models"
    names = (path.relative_to(models) for path in models.rglob("*") if path.is_file())
    return sorted(str(name) for name in names if name.parts[0] != ".ingest")


def test_the_content_is_committed_and_the_archive_is_not(tmp_path: Path, files: list[FileSpec]) -> None:
    ingest = fetched(tmp_path, files)
    content = ingest.unpacked(files)
    assert {file.filename for file in content} == {"plain", "m/a.gguf", "m/sub/b"}
    assert visible(tmp_path) == []
    ingest.commit(content, [("m.yaml", b"name: m")])
    assert visible(tmp_path) == ["m.yaml", "m/a.gguf", "m/sub/b", "plain"]
    assert (tmp_path / "models/m/a.gguf").stat().st_mode & 0o777 == 0o644
    ingest.discard()
    assert visible(tmp_path) == ["m.yaml", "m/a.gguf", "m/sub/b", "plain"]


def test_a_worker_that_comes_after_begins_anew_and_fetches_nothing(tmp_path: Path, files: list[FileSpec]) -> None:
    first = fetched(tmp_path, files).unpacked(files)
    (tmp_path / "shelf" / "f").write_bytes(b"gone")
    again = fetched(tmp_path, files)
    assert again.unpacked(files) == first
    again.commit(first, [("m.yaml", b"name: m")])
    assert (tmp_path / "models/m/a.gguf").read_bytes() == b"weights" * 1000


def test_unpacking_can_be_stopped_and_leaves_nothing_visible(tmp_path: Path, files: list[FileSpec]) -> None:
    ingest = fetched(tmp_path, files)

    def stop(_count: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        ingest.unpacked(files, stop)
    assert visible(tmp_path) == []
    assert {file.filename for file in ingest.unpacked(files)} == {"plain", "m/a.gguf", "m/sub/b"}


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path, files: list[FileSpec]) -> None:
    (tmp_path / "models/m").mkdir()
    (tmp_path / "models/m/a.gguf").write_bytes(b"another")
    ingest = fetched(tmp_path, files)
    content = ingest.unpacked(files)
    with pytest.raises(NameTaken):
        ingest.commit(content, [("m.yaml", b"name: m")])
    assert visible(tmp_path) == ["m/a.gguf"]


def test_an_archive_that_was_not_fetched_is_named(tmp_path: Path, files: list[FileSpec]) -> None:
    with pytest.raises(FileGone, match=r"m\.layer-1\.tar"):
        Ingest(tmp_path / "models", "job").unpacked(files)
