"""Downloads arrive whole or not at all, whatever the server and the disk do."""

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.download import download
from gallery.downloads.faults import local_faults
from gallery.downloads.plan import check_space
from gallery.downloads.progress import Snapshot
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from gallery.downloads.uris import resolve
from localai_admin.lib.net import Client, Policy, Timeouts
from tests.fakes.http_server import Server, running

QUICK = Timeouts(connect=2, header=0.5, stall=0.4)
BODY = random.Random(7).randbytes(300_000)
BIG = random.Random(8).randbytes(40 << 20)


class Stop(Exception):
    pass


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def transport(**settings: object) -> Downloader:
    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), QUICK)
    return Downloader(client, partial(resolve, **settings))  # type: ignore[arg-type]


def spec(uri: str, body: bytes | None = BODY, filename: str = "model.gguf") -> FileSpec:
    return FileSpec(filename, hashlib.sha256(body).hexdigest() if body is not None else "", uri)


def fetch(
    ingest: Ingest,
    *files: FileSpec,
    stop: Callable[[], None] = lambda: None,
    told: list[Snapshot] | None = None,
    **settings: object,
) -> None:
    told = [] if told is None else told
    download(files, ingest, transport=transport(**settings), stop=stop, on_progress=told.append)


def install(models: Path, *files: FileSpec, job: str = "job-1", **more: object) -> None:
    ingest = Ingest(models, job, **more)  # type: ignore[arg-type]
    fetch(ingest, *files)
    put_in_place(ingest, files, [])


def put_in_place(ingest: Ingest, files: Sequence[FileSpec], texts: Sequence[tuple[str, bytes]]) -> None:
    ingest.commit(files, texts)
    ingest.discard()


def everything(models: Path) -> dict[str, bytes]:
    return {str(path.relative_to(models)): path.read_bytes() for path in sorted(models.rglob("*")) if path.is_file()}


def partial_of(ingest: Ingest) -> bytes:
    return next(ingest.folder.glob("*.part")).read_bytes()


# --- The way it should be -------------------------------------------------------------------------------------------


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
    files = [spec(server.gives("/1", BODY), BODY, "1"), spec(server.gives("/2", BODY, length=-1), BODY, "2")]
    fetch(Ingest(models, "job-1"), *files, told=told)
    middle = next(snapshot for snapshot in told if snapshot.files[0].status == "downloading")
    assert middle.total is None
    assert middle.eta is None
    assert told[-1].total == 2 * len(BODY)


# --- Going on -------------------------------------------------------------------------------------------------------


def cut_once(server: Server, models: Path, at: int = 100_000, **how: object) -> tuple[Ingest, FileSpec]:
    """A download whose connection breaks after some bytes."""
    file = spec(server.gives("/f", BODY, cuts=[at], **how))
    ingest = Ingest(models, "job-1")
    with pytest.raises(errors.Network) as caught:
        fetch(ingest, file)
    assert caught.value.retry
    assert partial_of(ingest) == BODY[:at]
    return Ingest(models, "job-1"), file


@pytest.mark.parametrize("how", [{}, {"etag": "", "last_modified": "Mon, 06 Apr 2026 10:00:00 GMT"}, {"etag": 'W/"1"'}])
def test_a_broken_download_goes_on_where_it_was(server: Server, models: Path, how: dict[str, object]) -> None:
    ingest, file = cut_once(server, models, **how)
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
    ingest, file = cut_once(server, models)
    for name, value in change.items():
        setattr(server.pages["/f"], name, value)
    told: list[Snapshot] = []
    fetch(ingest, file, told=told)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": BODY}
    assert [snapshot.done for snapshot in told] == sorted(snapshot.done for snapshot in told)


def test_another_version_is_not_glued_to_the_old_one_even_without_a_digest(server: Server, models: Path) -> None:
    new = bytes(reversed(BODY))
    file = spec(server.gives("/f", BODY, cuts=[1000], etag='W/"1"'), None)
    with pytest.raises(errors.Network):
        fetch(Ingest(models, "job-1"), file)
    server.gives("/f", new, etag='W/"2"')
    install(models, file)
    assert everything(models) == {"model.gguf": new}


def test_without_anything_to_tell_versions_apart_a_download_is_begun_anew(server: Server, models: Path) -> None:
    ingest, file = cut_once(server, models, etag="")
    fetch(ingest, file)
    assert "range" not in server.asked("/f")[-1].headers


def test_a_file_that_has_shrunk_is_begun_anew(server: Server, models: Path) -> None:
    ingest, _ = cut_once(server, models)
    server.gives("/f", b"short")
    file = spec(server.url("/f"), b"short")
    fetch(ingest, file)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": b"short"}


def test_a_worker_that_died_after_the_last_byte_needs_no_connection(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BODY))
    ingest = Ingest(models, "job-1")
    with closing(ingest.open(file)) as part:
        part.begin(0, '"1"', len(BODY))
        part.append(BODY)
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    assert ingest.is_verified(file)
    assert server.asked("/f") == []


def test_pieces_of_a_server_that_gives_little_at_a_time_are_put_together(server: Server, models: Path) -> None:
    ingest, file = cut_once(server, models, most=50_000)
    fetch(ingest, file)
    put_in_place(ingest, [file], [])
    assert everything(models) == {"model.gguf": BODY}
    assert len(server.asked("/f")) == 5


def test_a_line_that_breaks_after_many_bytes_is_picked_up_at_once(server: Server, models: Path) -> None:
    install(models, spec(server.gives("/f", BIG, cuts=[17 << 20, 17 << 20]), BIG))
    assert (models / "model.gguf").read_bytes() == BIG


def test_what_is_verified_is_not_downloaded_again(server: Server, models: Path) -> None:
    files = [spec(server.gives("/1", BODY), BODY, "1"), spec(server.gives("/2", BODY, status=503), BODY, "2")]
    ingest = Ingest(models, "job-1")
    with pytest.raises(errors.ServerFault):
        fetch(ingest, *files)
    server.gives("/2", BODY)
    fetch(Ingest(models, "job-1"), *files)
    assert len(server.asked("/1")) == 1


def test_an_address_that_changed_is_another_file(server: Server, models: Path) -> None:
    ingest, file = cut_once(server, models)
    server.gives("/g", BODY)
    fetch(ingest, FileSpec(file.filename, file.sha256, server.url("/g")))
    assert "range" not in server.asked("/g")[-1].headers


def test_a_worker_that_is_killed_leaves_bytes_that_are_used(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BIG, stall=20 << 20), BIG)
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(models), file.uri, file.sha256])
    deadline = time.monotonic() + 20
    while not _has_bytes(models, 20 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    server.pages["/f"].stall = None
    install(models, file)
    assert (models / "model.gguf").read_bytes() == BIG
    assert server.asked("/f")[-1].headers["range"] == f"bytes={20 << 20}-"


_CHILD = """
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from gallery.downloads.download import download
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from gallery.downloads.uris import resolve
from localai_admin.lib.net import Client, Policy
models, uri, sha = sys.argv[1:]
download([FileSpec("model.gguf", sha, uri)], Ingest(Path(models), "job-1"),
    transport=Downloader(Client(Policy(trusted_hosts=["127.0.0.1"], proxy="")), resolve),
    stop=lambda: None, on_progress=lambda _: None)
"""


def _has_bytes(models: Path, count: int) -> bool:
    return any(path.stat().st_size >= count for path in models.glob(".ingest/job-1/*.part"))


def test_after_a_loss_of_power_only_synced_bytes_are_trusted(server: Server, models: Path) -> None:
    ingest, file = cut_once(server, models)
    state = ingest.folder / "state.json"
    saved = json.loads(state.read_text())
    saved["boot"] = "another start of the machine"
    next(iter(saved["files"].values()))["synced"] = 5_000
    state.write_text(json.dumps(saved))
    fetch(Ingest(models, "job-1"), file)
    assert server.asked("/f")[-1].headers["range"] == "bytes=5000-"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"files": 3}', b"\xff"])
def test_a_damaged_state_means_to_begin_anew(server: Server, models: Path, damage: bytes) -> None:
    ingest, file = cut_once(server, models)
    (ingest.folder / "state.json").write_bytes(damage)
    install(models, file)
    assert everything(models) == {"model.gguf": BODY}


# --- Stopping -------------------------------------------------------------------------------------------------------


def test_a_stop_ends_the_download_and_keeps_the_bytes(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BIG), BIG)
    ingest = Ingest(models, "job-1")

    def stop() -> None:
        if ingest.size_of(file):
            raise Stop

    with pytest.raises(Stop):
        fetch(ingest, file, stop=stop)
    assert 0 < ingest.size_of(file) < len(BIG)
    fetch(Ingest(models, "job-1"), file)


def test_a_stop_is_heard_during_a_stall(server: Server, models: Path) -> None:
    began = time.monotonic()

    def stop() -> None:
        if time.monotonic() - began > 0.5:
            raise Stop

    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), Timeouts(stall=60))
    file = spec(server.gives("/f", BODY, stall=10))
    with pytest.raises(Stop):
        download(
            [file], Ingest(models, "j"), transport=Downloader(client, resolve), stop=stop, on_progress=lambda _: None
        )
    assert time.monotonic() - began < 5


def test_discarding_leaves_no_byte(server: Server, models: Path) -> None:
    ingest, _ = cut_once(server, models)
    ingest.discard()
    assert list(models.iterdir()) == []


# --- What servers do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "kind", "retry"),
    [
        ({"status": 401}, errors.NeedsToken, False),
        ({"status": 403}, errors.Forbidden, False),
        ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, errors.NeedsToken, False),
        ({"status": 404}, errors.NotFound, False),
        ({"status": 410}, errors.NotFound, False),
        ({"status": 416}, errors.ServerFault, False),
        ({"status": 429}, errors.TooManyRequests, True),
        ({"status": 418}, errors.ServerFault, False),
        ({"status": 500}, errors.ServerFault, True),
        ({"status": 503}, errors.ServerFault, True),
        ({"status": 206}, errors.ServerFault, False),  # to a request without a range
        ({"silent": True}, errors.Network, True),
        ({"stall": 1000}, errors.Stalled, True),
        ({"cut": 1000}, errors.Network, True),
        ({"cut": 1000, "chunked": True}, errors.Network, True),
        ({"length": 400_000}, errors.Network, True),  # announces more than it has
        ({"length": 200_000}, errors.DigestMismatch, False),  # announces less
        ({"headers": {"Content-Encoding": "gzip"}}, errors.ServerFault, False),
        ({"content_type": "text/html; charset=utf-8"}, errors.ServerFault, False),  # an error page with 200
        ({"redirect": "/f"}, errors.Network, False),  # a circle
        ({"redirect": "http://127.0.0.2:1/f"}, errors.RefusedSource, False),  # a private address, not trusted
        ({"redirect": "http://example.com/f"}, errors.RefusedSource, False),  # without TLS
    ],
)
def test_each_fault_of_a_server_has_its_name(
    server: Server, models: Path, how: dict[str, object], kind: type[errors.DownloadError], retry: bool
) -> None:
    with pytest.raises(errors.DownloadError) as caught:
        install(models, spec(server.gives("/f", BODY, **how)))
    assert type(caught.value) is kind
    assert caught.value.retry is retry
    assert caught.value.cause
    assert caught.value.action.endswith(".")
    assert str(caught.value).endswith(".")
    assert not (models / "model.gguf").exists()


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("99999999", 3600), ("nonsense", None), ("", None)])
def test_the_wait_that_a_server_asks_for_is_known(
    server: Server, models: Path, said: str, seconds: float | None
) -> None:
    with pytest.raises(errors.TooManyRequests) as caught:
        install(models, spec(server.gives("/f", BODY, status=429, headers={"Retry-After": said})))
    assert caught.value.retry_after == seconds


def test_a_date_to_wait_for_becomes_seconds(server: Server, models: Path) -> None:
    headers = {"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))}
    with pytest.raises(errors.TooManyRequests) as caught:
        install(models, spec(server.gives("/f", BODY, status=429, headers=headers)))
    assert 90 < (caught.value.retry_after or 0) <= 100


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(server: Server, other: Server, models: Path) -> None:
    other.gives("/blob", BODY)
    server.gives("/o/r/resolve/main/f.gguf", redirect=other.url("/blob"))
    ingest = Ingest(models, "job-1")
    fetch(ingest, spec("huggingface://o/r/f.gguf"), hf_endpoint=server.url(""), hf_token="secret")
    assert {request.headers.get("authorization") for request in server.seen} == {"Bearer secret"}
    assert {request.headers.get("authorization") for request in other.seen} == {None}


def test_a_missing_file_is_noticed_before_another_is_downloaded(server: Server, models: Path) -> None:
    with pytest.raises(errors.NotFound):
        install(models, spec(server.gives("/1", BODY), BODY, "1"), spec(server.url("/gone"), BODY, "2"))
    assert server.asked("/1") == []


# --- Digests --------------------------------------------------------------------------------------------------------


def test_a_file_with_another_digest_is_put_aside_and_never_placed(server: Server, models: Path) -> None:
    file = FileSpec("m.gguf", "0" * 64, server.gives("/f", BODY))
    with pytest.raises(errors.DigestMismatch) as caught:
        install(models, file)
    assert caught.value.expected == "0" * 64
    assert caught.value.got == hashlib.sha256(BODY).hexdigest()
    assert not caught.value.retry
    assert [path.read_bytes() for path in (models / ".ingest/suspect").iterdir()] == [BODY]
    assert not (models / "m.gguf").exists()


def test_a_mismatch_of_pieces_is_worth_another_try(server: Server, models: Path) -> None:
    ingest, file = cut_once(server, models)
    part = next(ingest.folder.glob("*.part"))
    part.write_bytes(b"x" + BODY[1:100_000])
    with pytest.raises(errors.DigestMismatch) as caught:
        fetch(ingest, file)
    assert caught.value.retry
    install(models, file)
    assert (models / "model.gguf").read_bytes() == BODY


def test_a_digest_without_the_file_in_the_models_folder_is_no_reason_to_skip_it(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BODY))
    install(models, file)
    (models / "model.gguf").unlink()
    install(models, file, job="job-2")
    assert everything(models) == {"model.gguf": BODY}


# --- What is there already ------------------------------------------------------------------------------------------


def test_a_file_with_the_same_digest_is_used_without_asking_for_it(server: Server, models: Path) -> None:
    (models / "model.gguf").write_bytes(BODY)
    told: list[Snapshot] = []
    ingest = Ingest(models, "job-1")
    file = spec(server.url("/f"))
    fetch(ingest, file, told=told)
    put_in_place(ingest, [file], [("m.yaml", b"name: m\n")])
    assert server.seen == []
    assert told[-1].files[0].status == "already here"
    assert (told[-1].done, told[-1].total) == (len(BODY), len(BODY))


def test_a_file_without_a_digest_is_the_same_when_it_is_as_long(server: Server, models: Path) -> None:
    (models / "model.gguf").write_bytes(BODY)
    install(models, spec(server.gives("/f", BODY), None))
    assert server.asked("/f") == []


@pytest.mark.parametrize("body", [BODY, None])
def test_another_file_of_that_name_is_not_replaced(server: Server, models: Path, body: bytes | None) -> None:
    (models / "model.gguf").write_bytes(b"of another model")
    with pytest.raises(errors.NameTaken):
        install(models, spec(server.gives("/f", BODY), body))
    assert (models / "model.gguf").read_bytes() == b"of another model"


def test_a_file_of_the_same_model_is_replaced(server: Server, models: Path) -> None:
    (models / "model.gguf").write_bytes(b"its last version")
    install(models, spec(server.gives("/f", BODY)), owned={"model.gguf"})
    assert everything(models) == {"model.gguf": BODY}


@pytest.mark.parametrize(
    ("there", "name"),
    [("Model.gguf", "model.gguf"), ("DIR/x", "dir/model.gguf"), ("caf\u00e9.bin", "cafe\u0301.bin")],
)
def test_a_name_that_differs_only_by_case_or_form_is_refused(
    server: Server, models: Path, there: str, name: str
) -> None:
    (models / there).parent.mkdir(exist_ok=True)
    (models / there).write_bytes(b"x")
    with pytest.raises(errors.NameTaken):
        install(models, spec(server.gives("/f", BODY), BODY, name))


def test_two_files_of_one_entry_must_be_told_apart(server: Server, models: Path) -> None:
    url = server.gives("/f", BODY)
    with pytest.raises(errors.NameTaken):
        install(models, spec(url, BODY, "a.bin"), spec(url, BODY, "A.bin"))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".ingest/job-2/x", "a/._gallery_x.yaml", "a\0b", ""])
def test_a_name_that_leaves_its_place_is_refused_before_anything_is_asked(
    server: Server, models: Path, name: str
) -> None:
    with pytest.raises(errors.UnsafeName):
        install(models, spec(server.gives("/f", BODY), BODY, name))
    assert server.asked("/f") == []


def test_a_link_out_of_the_models_folder_is_not_followed(server: Server, models: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (models / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(errors.UnsafeName):
        install(models, spec(server.gives("/f", BODY), BODY, "out/x"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_link_put_there_during_the_download_is_not_followed(server: Server, models: Path, tmp_path: Path) -> None:
    file = spec(server.gives("/f", BODY), BODY, "sub/x")
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    (models / "sub").symlink_to(tmp_path)
    with pytest.raises(errors.UnsafeName):
        put_in_place(ingest, [file], [])
    assert not (tmp_path / "x").exists()


# --- Commit ---------------------------------------------------------------------------------------------------------

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


# --- The disk -------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_it_is_downloaded(server: Server, models: Path) -> None:
    with pytest.raises(errors.NoSpace) as caught:
        install(models, spec(server.gives("/f", BODY)), reserve=1 << 60)
    assert (caught.value.missing or 0) > 1 << 58
    assert server.asked("/f") == []


def test_the_reserve_is_not_used_up_by_a_file_of_unknown_size(server: Server, models: Path) -> None:
    with pytest.raises(errors.NoSpace):
        install(models, spec(server.gives("/f", BODY, length=-1)), reserve=1 << 60)


def test_space_is_added_up_over_all_files(tmp_path: Path) -> None:
    needs = [(tmp_path, 60), (tmp_path / "not" / "there", 50), (tmp_path, None)]
    check_space(needs, 10, free=lambda _path: 120)
    with pytest.raises(errors.NoSpace) as caught:
        check_space(needs, 11, free=lambda _path: 120)
    assert caught.value.missing == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_how_much_is_missing(number: int) -> None:
    with pytest.raises(errors.NoSpace, match=r"2\.0 KiB") as caught, local_faults("f", 2048):
        raise OSError(number, os.strerror(number))
    assert (caught.value.missing, caught.value.retry) == (2048, False)


def test_a_write_that_comes_back_short_is_named_and_the_bytes_are_kept(server: Server, models: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _FULL, str(models), server.gives("/f", BODY)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert child.stdout.startswith("local_io"), child.stderr
    kept = next(models.glob(".ingest/j/*.part")).stat().st_size
    assert 0 < kept <= 100_000


#: At the limit on the size of files a write first comes back short, then fails, as on a disk that is full.
_FULL = """
import resource, signal, sys
from pathlib import Path
from gallery.downloads.download import download
from gallery.downloads.errors import DownloadError
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from gallery.downloads.uris import resolve
from localai_admin.lib.net import Client, Policy
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    download([FileSpec("f", "", sys.argv[2])], Ingest(Path(sys.argv[1]), "j"),
        transport=Downloader(Client(Policy(trusted_hosts=["127.0.0.1"], proxy="")), resolve),
        stop=lambda: None, on_progress=lambda _: None)
except DownloadError as error:
    print(error.cause, error)
"""


def test_a_models_folder_that_cannot_be_written_is_named(models: Path) -> None:
    (models / ".ingest").write_bytes(b"a file where the folder should be")
    with pytest.raises(errors.LocalFault) as caught:
        Ingest(models, "job-1")
    assert caught.value.action


# --- Small documents ------------------------------------------------------------------------------------------------


def test_a_document_is_not_sent_again_when_it_is_the_same(server: Server) -> None:
    url = server.gives("/d", b"text")
    first = transport().fetch(url)
    assert (first.body, first.etag) == (b"text", '"1"')
    assert transport().fetch(url, etag=first.etag).body is None


def test_a_document_that_is_too_large_is_refused(server: Server) -> None:
    with pytest.raises(errors.TooLarge):
        transport().fetch(server.gives("/d", b"x" * 101), limit=100)


def test_a_local_document_has_a_tag_too(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"text")
    local = transport(file_roots=[tmp_path])
    first = local.fetch(f"file://{tmp_path}/d")
    assert first.body == b"text"
    assert local.fetch(f"file://{tmp_path}/d", etag=first.etag).body is None
