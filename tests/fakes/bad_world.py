"""A running console whose galleries and models are mostly bad, and a person who uses it."""

import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.fakes import http_server, tiny_gguf
from tests.fakes.console import Console
from tests.fakes.visitor import Visitor

PARTS = ("web", "worker", "agent")
BACKENDS = ("exits-at-once", "never-healthy", "refuses-load", "takes-its-port", "nowhere")


class World:
    """A running console whose galleries and models are mostly bad, and a person who uses it."""

    def __init__(self, console: Console, server: http_server.Server, small_disk: bool) -> None:
        self.console, self.server, self.small_disk = console, server, small_disk
        self.models = console.data / "models"
        self.visitor = Visitor(console)
        self.pids = {name: console.child(name).pid for name in PARTS}

    def query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.console.data / "db.sqlite3", timeout=30)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def refresh_job(self, gallery: str) -> str:
        """The path of the first job that a person asked for to read the gallery."""
        sql = "select id from gallery_job where subject = ? and kind = 'refresh' order by created_at limit 1"
        pk = str(self.query(sql, gallery)[0][0])
        return f"/jobs/{'-'.join([pk[:8], pk[8:12], pk[12:16], pk[16:20], pk[20:]])}/"

    def job_state(self, job: str) -> str:
        if job.startswith("/plans/"):
            state = str(self.query("select state from gallery_plan where id = ?", _key(job))[0][0])
            # One that was worked out, but not carried out, cannot be.
            return "failed" if state == "ready" else state
        return str(self.query("select state from gallery_job where id = ?", _key(job))[0][0])

    def ends(self, job: str, state: str, seconds: float = 60) -> str:
        """Wait for the end of a job; returns the text of its page."""
        until(lambda: self.job_state(job) in {"done", "failed", "cancelled"}, seconds)
        page = self.visitor.get(job)
        assert self.job_state(job) == state, page
        return page

    def fails(self, job: str, *words: str) -> str:
        """The job fails, with the words on its page and, in one line, in the log. Returns the text of its page."""
        page = self.ends(job, "failed")
        for word in words:
            assert word in page
        self.console.wait_for_log("WARNING", *words)
        return page

    def standing(self, model: str, *states: str, seconds: float = 90) -> str:
        """Wait until the model is in one of the states; returns the text of its page."""

        def state() -> object:
            return self.query("select state from models_instance where name = ?", model)[0][0]

        until(lambda: state() in states, seconds)
        return self.visitor.get(f"/models/{model}/")

    def visible(self) -> set[str]:
        return {path.name for path in self.models.iterdir()}


def _key(job: str) -> str:
    return job.split("/")[2].replace("-", "")


def until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


def write_models(models: Path) -> None:
    (models / "broken.yaml").write_text("name: broken\nparameters: {model: [\n")
    (models / "twice-a.yaml").write_text("name: twice\nbackend: good\n")
    (models / "twice-b.yaml").write_text("name: twice\nbackend: good\n")
    (models / "spare.yaml").write_text("name: spare\nbackend: good\n")
    (models / "out.yaml").write_text("name: out\nbackend: good\nparameters: {model: ../../etc/passwd}\n")
    tiny_gguf.write(models / "tiny.gguf")
    for backend in BACKENDS:
        patient = "" if backend == "never-healthy" else "grpc: {attempts: 30, attempts_sleep_time: 2}\n"
        text = f"name: on-{backend}\nbackend: {backend}\nparameters: {{model: tiny.gguf}}\n{patient}"
        (models / f"on-{backend}.yaml").write_text(text)
