"""The whole console as a person starts it: `localai-admin up` on a data folder of its own."""

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
#: The environment that hides the packages of extras, which `make run` does not install.
WITHOUT_EXTRAS = {"PYTHONPATH": str(Path(__file__).parent / "without_extras")}
START_SECONDS = 60.0
_PREPARE = """
import django
django.setup()
from django.conf import settings
from django.db import connection
from localai_admin.management.commands import up
up.make_folder(settings.DATA)
up.prepare()
connection.close()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def _prepared() -> Path:
    """A data folder as a first start leaves it, made once a process: most of a first start is its database."""
    folder = Path(tempfile.mkdtemp(prefix="localai-admin-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALAI_", "DJANGO_"))}
    own = {"LOCALAI_ADMIN_DATA": str(folder), "LOCALAI_GALLERIES": "[]", "DATABASE_URL": ""}
    environment = {**inherited, **own, "DJANGO_SETTINGS_MODULE": "localai_admin.settings"}
    subprocess.run([sys.executable, "-c", _PREPARE], cwd=ROOT, env=environment, check=True, timeout=60)
    return folder


def prepare(data: Path) -> None:
    """Give a data folder without a database that of a first start, and its static files."""
    if not (data / "db.sqlite3").exists():
        data.mkdir(mode=0o750, parents=True, exist_ok=True)
        shutil.copytree(_prepared() / "static", data / "static", dirs_exist_ok=True)
        shutil.copy2(_prepared() / "db.sqlite3", data)


def looking_at(data: Path) -> sqlite3.Connection:
    """The database of a console that runs, or was killed; nothing is written to it."""
    return sqlite3.connect(f"file:{data}/db.sqlite3?mode=ro", uri=True, timeout=20, isolation_level=None)


def query(data: Path, sql: str, *values: object) -> list[Any]:
    """What the database says now."""
    with contextlib.closing(looking_at(data)) as connection:
        return connection.execute(sql, values).fetchall()


class Console:
    """One `up` and its children. Use as a context manager; `restart()` keeps the data folder and the address.

    A `new` one begins with nothing at all, as the very first start of a person does.
    """

    def __init__(self, data: Path, *, new: bool = False, **environment: str) -> None:
        self.data, self.is_new = data, new
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALAI_", "DJANGO_"))}
        self.environment = {
            **inherited,
            **({} if "DATABASE_URL" in inherited | environment else WITHOUT_EXTRAS),
            "LOCALAI_ADMIN_DATA": str(data),
            "LOCALAI_ADMIN_ADDRESS": f"127.0.0.1:{self.port}",
            "LOCALAI_GALLERIES": "[]",
            "LOCALAI_ADMIN_DISK_RESERVE": "0",
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None
        self.output: list[str] = []
        self._seen = threading.Event()

    def __enter__(self) -> "Console":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *arguments: str) -> float:
        """Start and wait for the greeting. Returns the seconds it took."""
        if not self.is_new:
            prepare(self.data)
        began = time.monotonic()
        self._seen.clear()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        while not self._seen.wait(0.05):
            if self.process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise AssertionError("The console did not come up:\n" + "".join(self.output))
        return time.monotonic() - began

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            self.output.append(line)
            if "Ctrl-C stops it" in line:
                self._seen.set()
        process.stdout.close()

    @property
    def welcome_link(self) -> str:
        found = re.search(r"http://\S+/welcome/\S+", "".join(self.output))
        assert found, "no welcome link was printed"
        return found[0]

    @property
    def log(self) -> str:
        """All that `up` and its children have written so far."""
        return "".join(self.output)

    def wait_for_log(self, *words: str, seconds: float = 40.0) -> str:
        """The first line of the log with all the words, which may still have to come."""
        end = time.monotonic() + seconds
        while True:
            for line in list(self.output):
                if all(word in line for word in words):
                    return line
            assert time.monotonic() < end, f"no line with {words} in the log:\n{self.log}"
            time.sleep(0.1)

    def child(self, name: str) -> psutil.Process:
        """The process of web (its worker), worker or agent."""
        assert self.process
        words = {"web": "granian", "worker": "run_huey", "agent": "run_agent"}[name]
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if any(words in word for word in child.cmdline()):
                    return child
        raise AssertionError(f"{name} is not running")

    def tree(self) -> list[psutil.Process]:
        assert self.process
        watcher = psutil.Process(self.process.pid)
        return [watcher, *watcher.children(recursive=True)]

    def kill_all(self) -> None:
        """As a crash of the machine's user session would: every process of the console at once, backends left."""
        assert self.process
        watcher = psutil.Process(self.process.pid)
        parts = [watcher, *watcher.children()]
        with contextlib.suppress(AssertionError, psutil.NoSuchProcess):
            parts += self.child("web").children()
        for process in parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)

    def stop(self, number: int = signal.SIGINT, seconds: float = 60.0) -> int:
        """Ctrl-C, and wait until all has ended. Returns the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            for process in self.tree():
                process.kill()
            raise AssertionError("The console did not stop:\n" + "".join(self.output)) from None

    def manage(self, *arguments: str, input: str | None = None) -> str:
        """Run a management command on the console's data folder."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT, env=self.environment, input=input, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
