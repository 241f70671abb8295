"""Downloads as tests make them: quick to give up, from a server on this machine."""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gallery.downloads.download import download
from gallery.downloads.pace import Unlimited
from gallery.downloads.partial import bytes_here
from gallery.downloads.patience import Patience
from gallery.downloads.progress import Snapshot
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy, Timeouts
from tests.fakes.http_server import Server

QUICK = Timeouts(connect=2, header=0.5, stall=0.4)
SHORT = Patience(tries=2, first=0.01, longest=1.0, worth=1 << 16)
MIB = 1 << 20
BODY = random.Random(7).randbytes(300_000)
BIG = random.Random(8).randbytes(40 * MIB)


class Stop(Exception):
    pass


def transport(timeouts: Timeouts = QUICK, **settings: object) -> Downloader:
    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), timeouts)
    return Downloader(client, Resolver(Settings(**settings)))  # type: ignore[arg-type]


def spec(uri: str, body: bytes | None = BODY, filename: str = "model.gguf") -> FileSpec:
    return FileSpec(filename, hashlib.sha256(body).hexdigest() if body is not None else "", uri)


def fetch(
    ingest: Ingest,
    *files: FileSpec,
    stop: Callable[[], None] = lambda: None,
    told: list[Snapshot] | None = None,
    **more: Any,
) -> None:
    """`more` is for download(); what that does not know is a setting of the transport."""
    known = {name: more.pop(name) for name in ("pace", "known", "patience", "timeouts") if name in more}
    timeouts = known.pop("timeouts", QUICK)
    known = {"patience": SHORT, "pace": Unlimited(4), **known}
    told = [] if told is None else told
    download(files, ingest, transport=transport(timeouts, **more), stop=stop, on_progress=told.append, **known)


def install(models: Path, *files: FileSpec, job: str = "job-1", **more: Any) -> None:
    settings = {name: more.pop(name) for name in ("owned", "reserve") if name in more}
    ingest = Ingest(models, job, **settings)
    fetch(ingest, *files, **more)
    put_in_place(ingest, files, [])


def put_in_place(ingest: Ingest, files: Sequence[FileSpec], texts: Sequence[tuple[str, bytes]]) -> None:
    ingest.commit(files, texts)
    ingest.discard()


def everything(models: Path) -> dict[str, bytes]:
    return {str(path.relative_to(models)): path.read_bytes() for path in sorted(models.rglob("*")) if path.is_file()}


def stopped_at(server: Server, ingest: Ingest, file: FileSpec, count: int, **more: Any) -> None:
    """Let the server give so many bytes and then nothing more, and stop the download when they are here."""
    path = file.uri.removeprefix(server.url(""))
    server.pages[path].stall = count

    def stop() -> None:
        if ingest.size_of(file) >= count:
            raise Stop

    with pytest.raises(Stop):
        fetch(ingest, file, stop=stop, timeouts=Timeouts(stall=20), **more)
    server.pages[path].stall = None


#: Downloads in a process of its own, so that it can be killed: models folder, connections, then files as JSON.
CHILD = """
import json, sys
from pathlib import Path
from gallery.downloads.download import download
from gallery.downloads.errors import DownloadError
from gallery.downloads.pace import Unlimited
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
models, connections, files = Path(sys.argv[1]), int(sys.argv[2]), [FileSpec(*f) for f in json.loads(sys.argv[3])]
client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""))
try:
    download(files, Ingest(models, "job-1"), transport=Downloader(client, Resolver()),
        stop=lambda: None, on_progress=lambda _: None, pace=Unlimited(connections))
except DownloadError as error:
    print(error.cause, error)
"""


def child(models: Path, connections: int, *files: FileSpec) -> "subprocess.Popen[bytes]":
    named = json.dumps([[file.filename, file.sha256, file.uri] for file in files])
    return subprocess.Popen([sys.executable, "-c", CHILD, str(models), str(connections), named])


def until_here(models: Path, file: FileSpec, count: int, seconds: float = 20) -> None:
    """Until so many bytes of the file are on the disk, whoever puts them there."""
    part = models / ".ingest/job-1" / f"{hashlib.sha256(file.filename.encode()).hexdigest()[:16]}.part"
    deadline = time.monotonic() + seconds
    while bytes_here(part) < count:
        assert time.monotonic() < deadline, "the bytes never came"
        time.sleep(0.005)
