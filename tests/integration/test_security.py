"""Attacks on a console as it really runs: its server, its processes, its files."""

import contextlib
import http.client
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil
import pytest

from tests.fakes.console import ROOT, Console, free_port

HF_TOKEN = "hf_AbCdEfGhIjKlMnOp"
KEY = "a-key-of-a-console-that-nobody-guesses-1234567890"
SECRETS = {"HF_TOKEN": HF_TOKEN, "DATABASE_PASSWORD": "pass-word-1", "AWS_SECRET_ACCESS_KEY": "pass-word-2"}


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    """One for all the attacks, which it has to outlive; on a folder that somebody else may read."""
    with tempfile.TemporaryDirectory(prefix="localai-admin-security-") as data:
        Path(data).chmod(0o755)
        (Path(data) / "models").mkdir()
        (Path(data) / "models" / "m.yaml").write_text("name: m\nbackend: good\nparameters: {model: m.gguf}\n")
        with Console(
            Path(data),
            LOCALAI_BACKENDS_PATH=str(ROOT / "tests" / "fakes" / "backends"),
            LOCALAI_ADMIN_SECRET_KEY=KEY,
            **SECRETS,
        ) as running:
            yield running


def ask(console: Console, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=20)
    with contextlib.closing(connection):
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body or None, {**form, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders())


def form_of(console: Console, path: str) -> tuple[str, dict[str, str]]:
    """The token of the form on a page, and the header with its cookie."""
    _, page, headers = ask(console, "GET", path)
    found = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found
    return found[1], {"Cookie": headers["set-cookie"].split(";")[0]}


def head(console: Console, cookie: dict[str, str], length: int) -> bytes:
    return (
        f"POST /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\nCookie: {cookie['Cookie']}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_slow_clients_hold_no_worker(console: Console) -> None:
    _, cookie = form_of(console, "/sign-in/")
    with contextlib.ExitStack() as open_lines:
        for _ in range(30):
            line = open_lines.enter_context(socket.create_connection(("127.0.0.1", console.port)))
            line.sendall(head(console, cookie, 1000) + b"--x")
        time.sleep(0.5)
        for _ in range(5):
            began = time.monotonic()
            assert ask(console, "GET", "/sign-in/")[0] == 200
            assert time.monotonic() - began < 5


def test_a_body_that_does_not_come_is_answered_and_its_reader_goes_away(console: Console) -> None:
    _, cookie = form_of(console, "/sign-in/")
    web = console.child("web")
    processes = [web, *web.children(recursive=True)]
    before = sum(process.num_threads() for process in processes)
    with socket.create_connection(("127.0.0.1", console.port)) as line:
        line.settimeout(20)
        line.sendall(head(console, cookie, 1000) + b"--x")
        assert line.recv(100).startswith(b"HTTP/1.1 408")
    end = time.monotonic() + 10
    while sum(process.num_threads() for process in processes) > before:
        assert time.monotonic() < end, "the thread that read the body is still there"
        time.sleep(0.2)


def test_a_stranger_cannot_fill_the_disk(console: Console) -> None:
    _, cookie = form_of(console, "/sign-in/")
    uploads = set(Path(tempfile.gettempdir()).glob("*.upload*"))
    with socket.create_connection(("127.0.0.1", console.port)) as line:
        line.settimeout(10)
        line.sendall(
            head(console, cookie, 1 << 30) + b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413")
        with contextlib.suppress(OSError):
            for _ in range(50):
                line.sendall(b"x" * (1 << 20))
    assert set(Path(tempfile.gettempdir()).glob("*.upload*")) <= uploads


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../secret_key",
        "/static/%2e%2e/%2e%2e/db.sqlite3",
        "/static/..%2f..%2fdb.sqlite3",
        "/static//etc/passwd",
        "/static/%00",
        "/static/css/../../../db.sqlite3",
        "//evil.example/..",
        "/models/..%2f..%2fdb.sqlite3/",
        "/static/.collected/",
    ],
)
def test_no_path_leads_to_a_file_outside(console: Console, path: str) -> None:
    status, text, headers = ask(console, "GET", path)
    assert status in {302, 404}
    assert "SQLite" not in text
    assert headers.get("location", "/sign-in/").startswith("/sign-in/")


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example", "localhost:80@evil.example"])
def test_a_page_of_another_site_that_points_its_name_here_gets_nothing(console: Console, host: str) -> None:
    status, text, headers = ask(console, "GET", "/sign-in/", Host=host)
    assert status == 400
    assert "csrfmiddlewaretoken" not in text
    assert headers["content-security-policy"]


def test_of_those_who_use_the_welcome_link_at_once_one_comes_in(console: Console) -> None:
    path = urlsplit(console.welcome_link).path
    token, cookie = form_of(console, path)
    gate, answers = threading.Barrier(5), []

    def come(name: str) -> None:
        form = {"csrfmiddlewaretoken": token, "username": name, "password1": "a quiet long phrase"}
        gate.wait()
        answers.append(ask(console, "POST", path, urlencode({**form, "password2": "a quiet long phrase"}), **cookie)[0])

    visitors = [threading.Thread(target=come, args=(f"visitor-{n}",)) for n in range(5)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(60)
    # Some may be turned away because they all come from one address, before the link is even looked at.
    assert answers.count(302) == 1
    assert set(answers) <= {302, 410, 429}
    assert (
        console.manage("shell", "-v0", "-c", "from django.contrib.auth.models import User; print(User.objects.count())")
        == "1\n"
    )
    assert ask(console, "GET", path)[0] == 410


def test_a_backend_is_told_no_secret_of_the_console(console: Console) -> None:
    console.manage("shell", "-v0", "-c", "from models import services; services.request_load('m', None)")
    backend = process_of_backend(console)
    environment = Path(f"/proc/{backend.pid}/environ").read_bytes().decode()
    for name, value in {
        **SECRETS,
        "LOCALAI_ADMIN_SECRET_KEY": KEY,
        "LOCALAI_ADMIN_DATA": str(console.data) + "\0",
    }.items():
        assert f"{name}=" not in environment
        assert f"={value}" not in environment
    held = {str(number.readlink()) for number in Path(f"/proc/{backend.pid}/fd").iterdir()}
    assert not [path for path in held if "sqlite3" in path or "lock" in path or "secret_key" in path]
    console.manage("shell", "-v0", "-c", "from models import services; services.request_stop('m', None)")


def process_of_backend(console: Console) -> psutil.Process:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        for child in console.child("agent").children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "--addr" in child.cmdline():
                    return child
        time.sleep(0.2)
    raise AssertionError("no backend was started:\n" + console.log)


def test_what_is_secret_on_the_disk_is_for_the_owner_alone(console: Console) -> None:
    open_to_all = []
    for folder, folders, files in os.walk(console.data):
        closed = [name for name in folders if not stat.S_IMODE(Path(folder, name).stat().st_mode) & 0o007]
        folders[:] = [name for name in folders if name not in closed and name not in {"static", "models"}]
        open_to_all += [name for name in files if stat.S_IMODE(Path(folder, name).stat().st_mode) & 0o077]
    assert not open_to_all
    for name in ("db.sqlite3", "queue.sqlite3"):
        assert stat.S_IMODE((console.data / name).stat().st_mode) == 0o600
    for name in ("logs", "run"):
        assert not stat.S_IMODE((console.data / name).stat().st_mode) & 0o007


def test_the_log_holds_no_secret(console: Console) -> None:
    """The last of the attacks: everything before has been written down by now."""
    path = urlsplit(console.welcome_link).path
    ask(console, "POST", path, "username=x")
    ask(console, "GET", "/x%0aERROR%20fake", Authorization=f"Bearer {HF_TOKEN}")
    console.wait_for_log("answered 404")
    greeting, _, rest = console.log.partition("Ctrl-C stops it")
    assert path in greeting
    for secret in (path, HF_TOKEN, KEY, "\nERROR fake"):
        assert secret not in rest


# --- A console that others can reach ----------------------------------------------------------------------------------

SAFE = {"LOCALAI_ADMIN_SECRET_KEY": KEY, "LOCALAI_ADMIN_HOSTS": "console.example"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"LOCALAI_ADMIN_SECRET_KEY": ""}, "LOCALAI_ADMIN_SECRET_KEY"),
        ({"LOCALAI_ADMIN_SECRET_KEY": "short"}, "LOCALAI_ADMIN_SECRET_KEY"),
        ({"LOCALAI_ADMIN_HOSTS": ""}, "LOCALAI_ADMIN_HOSTS"),
        ({"LOCALAI_ADMIN_HOSTS": "*"}, "LOCALAI_ADMIN_HOSTS"),
        ({"LOCALAI_ADMIN_DEBUG": "true"}, "LOCALAI_ADMIN_DEBUG"),
    ],
)
def test_a_public_address_is_refused_until_it_is_safe(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    for host in ("0.0.0.0", "[::]"):
        done = up(tmp_path, host, {**SAFE, **change})
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def up(data: Path, host: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALAI_", "DJANGO_"))}
    address = {"LOCALAI_ADMIN_DATA": str(data), "LOCALAI_ADMIN_ADDRESS": f"{host}:{free_port()}"}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "up"],
        env={**inherited, **address, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_console_with_names_of_its_own_still_says_that_it_is_there(tmp_path: Path) -> None:
    with Console(tmp_path, **SAFE) as console:
        assert console.welcome_link
        assert ask(console, "GET", "/sign-in/", Host="console.example")[0] == 200
        assert ask(console, "GET", "/sign-in/", Host="evil.example")[0] == 400
