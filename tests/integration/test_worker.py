"""A real worker process on a data folder of its own: installs, kills and starts again."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from gallery.downloads.partial import bytes_here
from tests.fakes.console import WITHOUT_EXTRAS, prepare, query

ROOT = Path(__file__).resolve().parent.parent.parent
LARGE = bytes(range(256)) * (12 << 10)  # 3 MiB
SMALL = b"small " * 1000
PIECE = 64 << 10

ASK = """
from gallery.models import Entry, Gallery
from gallery.services import installs, refresh
refresh.sync_from_settings()
gallery = Gallery.objects.get(name="own")
refresh.refresh_now(gallery.pk)
print("JOB", installs.request_install(Entry.objects.get(name={name!r}), "", None).pk.hex)
"""


class SlowServer:
    """Gives files with ranges; `pause` is how long it takes over each 64 KiB. Seconds."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.pause = files, 0.0
        self.ranges: list[str] = []
        self.conditions: list[str] = []
        self.sent = 0
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = server.files[self.path]
                asked = self.headers.get("Range", "")
                if self.command == "GET":
                    server.ranges.append(asked)
                    server.conditions.append(self.headers.get("If-Range", ""))
                first, _, last = asked.removeprefix("bytes=").partition("-")
                begin, end = int(first or 0), int(last) + 1 if last else len(body)
                self.send_response(206 if asked else 200)
                self.send_header("ETag", '"1"')
                self.send_header("Content-Length", str(end - begin))
                if asked:
                    self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(body)}")
                self.end_headers()
                if self.command == "HEAD":
                    return
                try:
                    for at in range(begin, end, PIECE):
                        server.sent += self.wfile.write(body[at : min(end, at + PIECE)])
                        time.sleep(server.pause)
                except OSError:
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Node:
    """A data folder, and the worker on it."""

    def __init__(self, folder: Path, server: SlowServer, names: Sequence[str] = ("two-files", "again")) -> None:
        self.data = folder / "data"
        self.models = self.data / "models"
        self.server = server
        source = folder / "gallery"
        source.mkdir()
        (source / "index.yaml").write_text(yaml.safe_dump([self._entry(name) for name in names]))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LOCALAI_", "DJANGO_", "HF_"))}
        self.environment = {
            **inherited,
            **WITHOUT_EXTRAS,
            "LOCALAI_ADMIN_DATA": str(self.data),
            "LOCALAI_ADMIN_FILE_ROOTS": str(source),
            "LOCALAI_ADMIN_TRUSTED_HOSTS": "127.0.0.1",
            "LOCALAI_ADMIN_ALLOW_HTTP": "true",
            "LOCALAI_ADMIN_DISK_RESERVE": "0",
            "LOCALAI_GALLERIES": json.dumps([{"name": "own", "url": (source / "index.yaml").as_uri()}]),
        }
        self.worker: subprocess.Popen[bytes] | None = None
        prepare(self.data)

    def _entry(self, name: str) -> dict[str, object]:
        files = [(f"{name}.gguf", "/large", LARGE), (f"{name}-mmproj.gguf", "/small", SMALL)]
        return {
            "name": name,
            "overrides": {"backend": "llama-cpp", "parameters": {"model": f"{name}.gguf"}},
            "files": [
                {"filename": file, "uri": self.server.url + path, "sha256": hashlib.sha256(body).hexdigest()}
                for file, path, body in files
            ],
        }

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, name: str = "two-files") -> str:
        """Ask for an install; returns the job's id as the database writes it."""
        output = self.manage("shell", "-v", "0", "-c", ASK.format(name=name))
        return output.rpartition("JOB ")[2].strip()

    def start(self) -> None:
        command = ["run_huey", "-f", "-g", "TERM", "-t", "5", "--quiet"]
        self.worker = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *command],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )

    def end(self, number: int) -> int:
        assert self.worker
        self.worker.send_signal(number)
        return self.worker.wait(15)

    def query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return query(self.data, sql, *values)

    def job(self, pk: str) -> tuple[str, int, str]:
        """State, attempt and error."""
        return self.query("select state, attempt, error from gallery_job where id = ?", pk)[0]  # type: ignore[return-value]

    def whys(self, pk: str) -> list[str]:
        rows = self.query("select why from gallery_jobevent where job_id = ? order by id", pk)
        return [str(row[0]) for row in rows]

    def until(self, pk: str, state: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while self.job(pk)[0] != state:
            assert time.monotonic() < end, (self.job(pk), self.whys(pk))
            time.sleep(0.05)

    def until_bytes(self, count: int) -> None:
        """Until so many bytes of the download are on the disk."""
        end = time.monotonic() + 30
        while sum(bytes_here(path) for path in self.models.glob(".ingest/*/*.part")) < count:
            assert time.monotonic() < end, "nothing was downloaded"
            time.sleep(0.02)

    def bytes_on_disk(self) -> int:
        """Of what is on its way, as far as it takes room on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self.models.glob(".ingest/*/*.part"))

    def visible(self) -> list[str]:
        return sorted(path.name for path in self.models.iterdir() if path.name != ".ingest")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    server = SlowServer({"/large": LARGE, "/small": SMALL})
    node = Node(tmp_path, server)
    try:
        yield node
    finally:
        if node.worker and node.worker.poll() is None:
            node.worker.kill()
            node.worker.wait(5)
        server.http.shutdown()
        server.http.server_close()


def resumed_from(node: Node) -> int:
    return max(int(asked.removeprefix("bytes=").partition("-")[0]) for asked in node.server.ranges if asked)


def test_a_worker_that_is_killed_while_it_downloads_goes_on_from_the_bytes_when_it_is_started_again(node):
    node.server.pause = 0.1
    pk = node.ask()
    node.start()
    node.until_bytes(512 << 10)
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    assert node.job(pk)[0] == "downloading"
    assert node.visible() == []
    node.server.pause = 0.0
    node.start()
    node.until(pk, "done")
    assert any("died while it was downloading" in why for why in node.whys(pk))
    assert resumed_from(node) >= 512 << 10
    assert (node.models / "two-files.gguf").read_bytes() == LARGE
    assert node.visible() == ["._gallery_two-files.yaml", "two-files-mmproj.gguf", "two-files.gguf", "two-files.yaml"]
    assert not (node.models / ".ingest").exists()


def test_a_worker_that_is_asked_to_stop_lets_go_at_once_and_the_try_does_not_count(node):
    node.server.pause = 0.1
    pk = node.ask()
    node.start()
    node.until_bytes(256 << 10)
    began = time.monotonic()
    assert node.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 4
    assert node.job(pk)[:2] == ("queued", 0)
    node.server.pause = 0.0
    node.start()
    node.until(pk, "done")
    assert resumed_from(node) >= 256 << 10


def test_a_job_starts_soon_after_it_was_asked_for(node):
    node.start()
    node.until(node.ask(), "done")
    time.sleep(2)
    pk = node.ask("again")
    node.until(pk, "done")
    [(created, started)] = node.query(
        "select julianday(created_at) * 86400, julianday(started_at) * 86400 from gallery_job where id = ?", pk
    )
    # The queue is looked at five times a second; the rest is room for a busy machine.
    assert float(str(started)) - float(str(created)) < 2.0
