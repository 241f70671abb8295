"""Workers to kill: one that runs alone, as `up` would start it, and one that `up` watches."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Protocol

import psutil

from localai_admin.management.commands.up import children
from tests.fakes.console import ROOT, Console

#: `up` gives up on a part that dies all the time; before that, all of it is killed.
_IN_A_ROW = 3


def unread(port: int) -> int:
    """Bytes that have come from this port of ours, and that nobody has read yet."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, queues, *_ = line.split()
        if int(remote.partition(":")[2], 16) == port:
            found += int(queues.partition(":")[2], 16)
    return found


class Killed(Protocol):
    """`kill` leaves no worker, and none is started, until `go_on` is called."""

    pid: int

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def go_on(self) -> None: ...

    def end(self) -> None: ...


class Alone:
    def __init__(self, folder: Path) -> None:
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def start(self) -> None:
        command = next(child.command for child in children(keep_backends=False) if child.name == "worker")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self.pid = self._process.pid

    def kill(self) -> None:
        assert self._process
        assert self._process.poll() is None, f"the worker ended by itself with {self._process.returncode}"
        self._process.kill()
        self._process.wait(10)

    def go_on(self) -> None:
        self.start()

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)


class Whole:
    """All of `up`: twice the worker alone is killed, while the watcher sleeps, then everything at once."""

    def __init__(self, folder: Path) -> None:
        own = {name: value for name, value in os.environ.items() if name.startswith("LOCALAI_")}
        self._console = Console(folder / "data", **{k: v for k, v in own.items() if k != "LOCALAI_ADMIN_DATA"})
        self._in_a_row = 0
        self.pid = 0

    def start(self) -> None:
        self._console.start()
        self.pid = self._console.child("worker").pid

    def kill(self) -> None:
        assert self._console.process
        assert self._console.process.poll() is None, f"`up` ended by itself:\n{self._console.log[-2000:]}"
        self._in_a_row += 1
        self.pid = self._console.child("worker").pid
        if self._in_a_row == _IN_A_ROW:
            self._console.kill_all()
            return
        self._console.process.send_signal(signal.SIGSTOP)
        died = psutil.Process(self.pid)
        died.kill()
        while died.status() != psutil.STATUS_ZOMBIE:
            pass

    def go_on(self) -> None:
        assert self._console.process
        if self._in_a_row == _IN_A_ROW:
            self._in_a_row = 0
            self.start()
            return
        before = self.pid
        self._console.process.send_signal(signal.SIGCONT)
        while self.pid == before:
            try:
                self.pid = self._console.child("worker").pid
            except AssertionError:
                continue

    def end(self) -> None:
        if self._console.process:
            self._console.process.send_signal(signal.SIGCONT)
            self._console.stop()
