"""All files of a model appear together, or none."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from tests.fakes.downloads import BODY, everything, fetch, put_in_place, spec
from tests.fakes.http_server import Server

OLD = {"a.bin": b"old a", "m.tmpl": b"old t", "._gallery_m.yaml": b"old g", "m.yaml": b"old m"}
TEXTS = [("m.tmpl", b"new t"), ("._gallery_m.yaml", b"new g"), ("m.yaml", b"new m")]


def before_commit(server: Server, models: Path) -> tuple[Ingest, list[FileSpec]]:
    """A model that is installed, and a new version of it that is ready."""
    for name, data in OLD.items():
        (models / name).write_bytes(data)
    files = [spec(server.gives("/a", b"new a"), b"new a", "a.bin"), spec(server.gives("/b", BODY), BODY, "d/b.bin")]
    ingest = Ingest(models, "job-1", owned=OLD)
    fetch(ingest, *files)
    return ingest, files


def test_a_commit_puts_everything_in_place_and_cleans_up(server: Server, models: Path) -> None:
    ingest, files = before_commit(server, models)
    put_in_place(ingest, files, TEXTS)
    assert everything(models) == {**dict(TEXTS), "a.bin": b"new a", "d/b.bin": BODY}
    assert not (models / ".ingest").exists()
    assert (models / "m.yaml").stat().st_mode & 0o777 == 0o644


def test_a_job_can_begin_while_others_end(models: Path) -> None:
    """Each takes the folder of them all away when it was the last one in it."""
    ended = threading.Event()

    def end_jobs(name: str) -> None:
        while not ended.is_set():
            Ingest(models, name).discard()

    others = [threading.Thread(target=end_jobs, args=(name,)) for name in ("one", "another")]
    for thread in others:
        thread.start()
    try:
        for number in range(500):
            ingest = Ingest(models, f"job-{number}")
            assert ingest.folder.is_dir()
            ingest.discard()
    finally:
        ended.set()
        for thread in others:
            thread.join()
    assert not (models / ".ingest").exists()


def test_a_commit_that_fails_in_the_middle_leaves_the_model_as_it_was(server: Server, models: Path) -> None:
    ingest, files = before_commit(server, models)
    # The last place cannot be written: its name is a folder's by the time it is wanted.
    with pytest.raises(errors.DownloadError):
        ingest.commit(files, [*TEXTS[:2], ("a.bin/m.yaml", b"new m")])
    assert {name: (models / name).read_bytes() for name in OLD} == OLD
    assert not (models / "d").exists()
    again = Ingest(models, "job-1", owned=OLD)
    assert all(again.is_verified(file) for file in files)
    put_in_place(again, files, TEXTS)
    assert everything(models) == {**dict(TEXTS), "a.bin": b"new a", "d/b.bin": BODY}


@pytest.mark.parametrize("moves", range(6))
def test_a_worker_killed_in_the_middle_of_a_commit_is_undone_or_done(server: Server, models: Path, moves: int) -> None:
    _, files = before_commit(server, models)
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            _COMMIT,
            str(models),
            str(moves),
            json.dumps([[f.filename, f.sha256, f.uri] for f in files]),
        ],
        timeout=30,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    again = Ingest(models, "job-1", owned=OLD)
    if moves < 5:
        assert {name: (models / name).read_bytes() for name in OLD} == OLD
        assert not (models / "d").exists()
        assert not again.committed
        put_in_place(again, files, TEXTS)
    else:
        assert again.committed
        again.discard()
    assert everything(models) == {**dict(TEXTS), "a.bin": b"new a", "d/b.bin": BODY}


#: Commits, and dies by the hand of nobody after so many moves.
_COMMIT = """
import json, os, signal, sys
from pathlib import Path
from gallery.downloads import placing
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
models, left, files = Path(sys.argv[1]), int(sys.argv[2]), [FileSpec(*f) for f in json.loads(sys.argv[3])]
move = placing._make
def make(*args):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    move(*args)
    if left == 0 and args[2].target == "m.yaml":
        os.kill(os.getpid(), signal.SIGKILL)
placing._make = make
old = ["a.bin", "m.tmpl", "._gallery_m.yaml", "m.yaml"]
Ingest(models, "job-1", owned=old).commit(files,
    [("m.tmpl", b"new t"), ("._gallery_m.yaml", b"new g"), ("m.yaml", b"new m")])
"""


def test_a_configuration_of_another_model_is_not_replaced(server: Server, models: Path) -> None:
    (models / "m.yaml").write_bytes(b"another")
    file = spec(server.gives("/f", BODY))
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    with pytest.raises(errors.NameTaken):
        put_in_place(ingest, [file], TEXTS)
    assert (models / "m.yaml").read_bytes() == b"another"
    assert not (models / "model.gguf").exists()


def test_a_file_that_another_install_brought_meanwhile_is_left_as_it_is(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BODY), BODY)
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    (models / file.filename).write_bytes(BODY)
    kept = (models / file.filename).stat().st_ino
    put_in_place(ingest, [file], TEXTS)
    assert (models / file.filename).stat().st_ino == kept
    assert (models / "m.yaml").exists()


def test_a_file_that_was_here_and_was_taken_away_meanwhile_is_fetched_by_the_next_try(server, models) -> None:
    file = spec(server.gives("/f", BODY), BODY)
    (models / file.filename).write_bytes(BODY)
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    (models / file.filename).unlink()
    with pytest.raises(errors.FileGone, match="is not there any more") as gone:
        ingest.commit([file], TEXTS)
    assert gone.value.retry
    assert not (models / "m.yaml").exists()
    fetch(ingest, file)
    put_in_place(ingest, [file], TEXTS)
    assert (models / file.filename).read_bytes() == BODY


def test_a_template_that_another_model_brought_with_the_same_words_is_shared(server: Server, models: Path) -> None:
    (models / "m.tmpl").write_bytes(dict(TEXTS)["m.tmpl"])
    ingest = Ingest(models, "job-1")
    put_in_place(ingest, [], TEXTS)
    assert {name: (models / name).read_bytes() for name, _ in TEXTS} == dict(TEXTS)


def test_a_file_that_another_model_uses_by_now_is_not_replaced(server: Server, models: Path) -> None:
    (models / "a.bin").write_bytes(b"old a")
    file = spec(server.gives("/a", b"new a"), b"new a", "a.bin")
    ingest = Ingest(models, "job-1", owned=["a.bin"])
    fetch(ingest, file)
    ingest.owned = frozenset()
    with pytest.raises(errors.NameTaken):
        ingest.commit([file], TEXTS)
    assert (models / "a.bin").read_bytes() == b"old a"


@pytest.mark.parametrize("job", ["", "../x", "suspect", "a/b", ".x"])
def test_a_job_needs_an_id_that_names_a_folder(models: Path, job: str) -> None:
    with pytest.raises(ValueError, match="id of a job"):
        Ingest(models, job)
