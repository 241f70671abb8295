"""Run a few programs as one: start them, start again what dies, stop them in order.

Only the standard library, so that the process that watches the others stays small: `up` prepares everything and then
becomes this program (`python -m localai_admin.lib.supervise SPEC`).
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from localai_admin.lib import signals

_PR_SET_PDEATHSIG = 1
#: A child that lived this long starts its next life with a clean record.
STEADY_SECONDS = 60.0
LONGEST_PAUSE = 30.0
GIVE_UP_AFTER = 6


@dataclass(frozen=True)
class Child:
    """A program: how to start it, how long it may take to stop, and what it gets when the watcher itself is killed."""

    name: str
    command: list[str]
    stop_seconds: float = 10.0
    orphan_signal: int = signal.SIGTERM
    stop_signal: int = signal.SIGTERM


@dataclass
class Life:
    child: Child
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)


@dataclass
class Record:
    failures: int = 0
    next_start: float = 0.0


def _on_parent_death(number: int, parent: int) -> Callable[[], None]:
    """To be called in a child: it gets the signal when its parent is gone, and ends now when that is gone already."""
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent is gone, or end it now when it is gone already.

    For a child that another program starts for us: without this it would keep the port when both are killed at once.
    """
    _on_parent_death(signal.SIGKILL, parent)()


def start(child: Child) -> Life:
    # A group of its own: Ctrl-C reaches the watcher alone, and the group can be swept after a kill.
    process = subprocess.Popen(  # noqa: S603 - commands are the console's own
        child.command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=_on_parent_death(child.orphan_signal, os.getpid()),  # noqa: PLW1509 - it takes no lock
    )
    return Life(child, process)


def stop(life: Life) -> None:
    """Ask, wait, kill the group, wait."""
    if life.process.poll() is None:
        life.process.send_signal(life.child.stop_signal)
        try:
            life.process.wait(life.child.stop_seconds)
        except subprocess.TimeoutExpired:
            say(f"{life.child.name} did not stop in {life.child.stop_seconds:.0f} s and is killed")
    sweep(life)
    try:
        life.process.wait(5)
    except subprocess.TimeoutExpired:
        say(f"{life.child.name} was killed, and has not ended yet; it is left to the system")


def sweep(life: Life) -> None:
    """Kill what is left of the child's process group."""
    # The number of a group that is gone may be that of somebody else's by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(life.process.pid, signal.SIGKILL)


def say(sentence: str) -> None:
    # Whoever read what is said here may have gone; that is no reason to let the children go, too.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"localai-admin: {sentence}\n")
        sys.stderr.flush()


class Watch:
    """The children of one `up`, in the order they are stopped in; started the other way round."""

    def __init__(self, children: list[Child]) -> None:
        self.children = children
        self.lives: dict[str, Life] = {}
        self.records = {child.name: Record() for child in children}
        self.asked_to_stop = threading.Event()

    def run(self) -> int:
        """Watch until asked to stop. Returns the exit status: 0, or 1 when a child would not stay alive."""
        status = 0
        while not self.asked_to_stop.is_set():
            self.start_missing()
            self.asked_to_stop.wait(0.25)
            if not self.asked_to_stop.is_set() and not all(self.check(child) for child in self.children):
                status = 1
                break
        for child in self.children:
            if child.name in self.lives:
                stop(self.lives.pop(child.name))
        return status

    def start_missing(self) -> None:
        now = time.monotonic()
        for child in reversed(self.children):
            if child.name not in self.lives and now >= self.records[child.name].next_start:
                try:
                    self.lives[child.name] = start(child)
                except OSError as error:
                    # Such as no memory for another process just now.
                    self.failed(child, f"could not be started ({error})")

    def check(self, child: Child) -> bool:
        """False when the child has died too often to go on."""
        life = self.lives.get(child.name)
        if life is not None and life.process.poll() is not None:
            del self.lives[child.name]
            sweep(life)
            steady = time.monotonic() - life.started > STEADY_SECONDS
            self.failed(child, f"ended (exit code {life.process.returncode})", steady=steady)
        return self.records[child.name].failures < GIVE_UP_AFTER

    def failed(self, child: Child, how: str, *, steady: bool = False) -> None:
        """Say so, and when it is started again; `steady`: it had lived long enough to begin with a clean record."""
        record = self.records[child.name]
        record.failures = 1 if steady else record.failures + 1
        if record.failures >= GIVE_UP_AFTER:
            say(f"{child.name} {how}, for the {record.failures}th time in a row; giving up")
            return
        pause = min(2.0 ** (record.failures - 1) - 1, LONGEST_PAUSE)
        record.next_start = time.monotonic() + pause
        say(f"{child.name} {how}; starting it again in {pause:.0f} s")


def announce(host: str, port: int, sentence: str, over: threading.Event) -> None:
    """Print the sentence when the web process answers."""
    while not over.wait(0.05):
        if answers(host, port):
            print(sentence, flush=True)
            return


def answers(host: str, port: int) -> bool:
    """Ask by hand: http.client would bring in ssl, and six megabytes for as long as the console runs."""
    request = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with socket.create_connection((host, port), timeout=2) as line:
            line.sendall(request)
            return line.recv(64).startswith((b"HTTP/1.0 2", b"HTTP/1.1 2"))
    except OSError:
        return False


def main(specification: str) -> int:
    spec = json.loads(specification)
    watch = Watch([Child(**child) for child in spec["children"]])
    signals.set_at(watch.asked_to_stop, (signal.SIGINT, signal.SIGTERM))
    watch.start_missing()
    threading.Thread(
        target=announce, args=(spec["host"], spec["port"], spec["sentence"], watch.asked_to_stop), daemon=True
    ).start()
    return watch.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
