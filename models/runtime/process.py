"""Backend processes: how one is started, how it is stopped for certain, and what it left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.runtime import logs
from models.runtime.backends import BackendFolder
from models.runtime.identity import MARKER, Identity, living, marked

#: How long the Free call may take, and how long a killed process may take to disappear. Seconds.
FREE_SECONDS = 5.0
KILL_SECONDS = 5.0
_LOOK = 0.05

#: Children belong to the operating system's process, not to an object in it: whoever asks first gets the exit code.
_children: dict[Identity, "subprocess.Popen[bytes]"] = {}


class SpawnFailed(Exception):
    """The run file could not be started. `retry` says whether trying again can help."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True)
class StopReport:
    """How a stop went. rung: the last one that was needed (none, term, kill). leftovers: pids that survived."""

    gone: bool
    rung: str
    leftovers: list[int]


def spawn(
    backend: BackendFolder, address: str, log_path: Path, environment: Mapping[str, str], marker: str
) -> Identity:
    """Start a backend that listens on `address`, in a session of its own and with its output going to the log file.

    The log of the run before is put aside. Raises SpawnFailed.
    """
    try:
        logs.rotate(log_path)
        log = log_path.open("ab")
    except OSError as error:
        raise SpawnFailed(f"The log {log_path} cannot be written: {error.strerror}.", retry=True) from error
    try:
        with log:
            child = subprocess.Popen(  # noqa: S603 - an installed backend's run file, found by a checked name
                [str(backend.run_file.resolve()), "--addr", address],
                cwd=backend.folder.resolve(),
                env={**environment, MARKER: marker},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise _spawn_failed(backend, error) from error
    # A child that is gone already is a zombie until it is waited for; its pid cannot be anybody else's.
    identity = Identity.of(child.pid) or Identity(child.pid, time.time())
    _children[identity] = child
    return identity


def exit_code(identity: Identity, seconds: float = 1.0) -> int | None:
    """The exit code of a child that ended, negative for a signal. The child is reaped, so it is told only once.

    None for a process that still runs after `seconds`, and for one this process did not start.
    """
    child = _children.get(identity)
    if child is None:
        return None
    with suppress(subprocess.TimeoutExpired):
        code = child.wait(seconds)
        _children.pop(identity, None)
        return code
    return None


def stop(
    identity: Identity,
    free: Callable[[], object] | None,
    seconds: float,
    *,
    owned: Callable[[], Iterable[Identity]] = tuple,
    kill_seconds: float = KILL_SECONDS,
) -> StopReport:
    """Stop a backend and everything it started. Ends within `seconds` + `kill_seconds` + what `free` takes.

    free: asks the backend to let go of its model, with a deadline of its own, and raises nothing. seconds: how long it
    may finish what it does after SIGTERM. owned: finds the processes that carry its marker, for those that left its
    session.
    """
    members = _members(identity, owned)
    if not members:
        return _report(identity, "none", [])
    if free is not None and identity.is_alive():
        free()
    _signal(identity, members, signal.SIGTERM)
    if not _gone_within(identity, owned, members, seconds):
        members |= _members(identity, owned)
        _signal(identity, members, signal.SIGKILL)
        _gone_within(identity, owned, members, kill_seconds, kill=True)
        return _report(identity, "kill", _left(members | _members(identity, owned)))
    return _report(identity, "term", [])


def owned_by(owner: str, instance: int) -> Callable[[], list[Identity]]:
    """For `stop`: finds the living processes that carry the marker of this instance."""
    return lambda: marked(owner).get(instance, [])


def _members(identity: Identity, owned: Callable[[], Iterable[Identity]]) -> set[psutil.Process]:
    members = set(identity.tree())
    for other in owned():
        members.update(other.tree())
    return members


def _signal(identity: Identity, members: set[psutil.Process], number: signal.Signals) -> None:
    """To the group at once, so that nothing forks away in between, then to each member outside of it."""
    if identity.is_alive():
        with suppress(OSError):
            os.killpg(identity.pid, number)
    for member in members:
        outside = number == signal.SIGKILL or _group(member.pid) != identity.pid
        if outside or not identity.is_alive():
            with suppress(psutil.Error):
                member.send_signal(number)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


def _gone_within(
    identity: Identity,
    owned: Callable[[], Iterable[Identity]],
    members: set[psutil.Process],
    seconds: float,
    *,
    kill: bool = False,
) -> bool:
    """Wait until none of the members lives, nor any they started since. With `kill`, those are killed at once."""
    deadline = time.monotonic() + seconds
    while True:
        if not _left(members):
            late = _members(identity, owned)
            if not late:
                return True
            members |= late
            if kill:
                _signal(identity, late, signal.SIGKILL)
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK)


def _left(members: Iterable[psutil.Process]) -> list[int]:
    return sorted(member.pid for member in members if member.is_running() and living(member.pid))


def _report(identity: Identity, rung: str, leftovers: list[int]) -> StopReport:
    exit_code(identity, 0.1)
    return StopReport(gone=not leftovers, rung=rung, leftovers=leftovers)


def _spawn_failed(backend: BackendFolder, error: OSError) -> SpawnFailed:
    where, why = backend.run_file, error.strerror or str(error)
    if isinstance(error, PermissionError):
        return SpawnFailed(f"{where} may not be executed: {why}. Make it executable (chmod +x).", retry=False)
    if isinstance(error, FileNotFoundError):
        return SpawnFailed(f"{where} could not be started: {why}. Check its first line.", retry=False)
    return SpawnFailed(f"{where} could not be started: {why}.", retry=True)
