"""The real llama.cpp backend in a process of its own, started by its run.sh as a supervisor would start it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from models.backend.client import BackendClient
from models.backend.errors import BackendError
from models.backend.options import model_options

RUN = Path(__file__).parents[2] / "backends" / "llama-cpp" / "run.sh"
START_SECONDS = 30.0


class LlamaBackend:
    """A running backend, with a client; a context manager that leaves no process behind."""

    def __init__(self, log: Path, environment: Mapping[str, str] | None = None, token: str = "") -> None:
        self.log = log
        self._environment = environment or {}
        for _ in range(5):
            self.address = f"127.0.0.1:{free_port()}"
            with log.open("w") as output:
                self.process = spawn(self.address, output, self._environment)
            self.client = BackendClient(self.address, token)
            if self._is_up():
                return
            self.client.close()
        raise AssertionError(log.read_text())

    def _is_up(self) -> bool:
        """False when it ended, as it does if another process was first to take the port."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return self.client.health(2)
            except BackendError:
                time.sleep(0.05)
        return False

    def __enter__(self) -> "LlamaBackend":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        tree = [*self.engines(), *([psutil.Process(self.process.pid)] if self.process.poll() is None else [])]
        for process in tree:
            process.kill()
        self.process.wait(10)

    def load(self, model: Path, **config: Any) -> dict[str, Any]:
        """Load the model file and return the configuration it was loaded with."""
        data = {"parameters": {"model": model.name}, **config}
        self.client.load(model_options(data, models_path=model.parent, threads=1), 30)
        return data

    def engines(self) -> list[psutil.Process]:
        """The engine's process, if there is one."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def engine(self, seconds: float = 10.0) -> psutil.Process:
        """The engine's process as soon as it runs its own program; holding it any earlier would hold the server too."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in self.engines():
                if any(word.endswith("llama.py") for word in cmdline(process)):
                    return process
            time.sleep(0.005)
        raise AssertionError("there is no engine")


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def spawn(address: str, output: IO[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(RUN), "--addr", address],
        env={**os.environ, "LOCALAI_BACKEND_PYTHON": sys.executable, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
