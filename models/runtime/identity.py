"""Which process is ours: a pid alone is not enough, so its start time and a marker in its environment are checked."""

import os
import secrets
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from localai_admin.lib.files import made_once

#: In the environment of every backend, and so of everything it starts: `<data folder id>:<instance id>`.
MARKER = "LOCALAI_ADMIN_INSTANCE"

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
_TICKS = os.sysconf("SC_CLK_TCK")
#: Read once: the kernel's value moves whenever somebody sets the clock, and a backend must not seem to die of it.
_BOOTED = psutil.boot_time()
#: Two processes that read the boot time may differ by a second.
_TOLERANCE = 1.5


@dataclass(frozen=True, order=True)
class Identity:
    """A process for all time: its pid, and when it started in seconds since 1970."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of the process that has this pid now; None when there is none or it is a zombie."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """Whether this very process still runs. A zombie is dead, and so is a pid that another process has now."""
        started = _started(self.pid)
        return started is not None and abs(started - self.started) < _TOLERANCE

    def tree(self) -> list[psutil.Process]:
        """The living processes of this one: itself, its descendants, the members of its session and process group.

        Works after the process itself is gone, as long as its pid has not been given to another one.
        """
        taken = _started(self.pid)
        if taken is not None and abs(taken - self.started) >= _TOLERANCE:
            return []
        pids = _descendants(self.pid) | _members(self.pid, self.started)
        return [process for pid in sorted(pids | {self.pid}) if (process := living(pid))]


def living(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def marked(owner: str) -> dict[int, list[Identity]]:
    """The processes that carry the marker of this data folder, oldest first, by the id of their instance."""
    found: dict[int, list[Identity]] = defaultdict(list)
    for pid in psutil.pids():
        prefix, _, instance = _marker_of(pid).rpartition(":")
        if prefix == owner and instance.isdecimal() and (identity := Identity.of(pid)):
            found[int(instance)].append(identity)
    return {
        instance: sorted(identities, key=lambda one: (one.started, one.pid)) for instance, identities in found.items()
    }


def marker(owner: str, instance: int) -> str:
    return f"{owner}:{instance}"


def owner_id(folder: Path) -> str:
    """The id of a data folder, made at the first call and kept in it. It tells two consoles on one machine apart."""
    return made_once(folder / "owner-id", secrets.token_hex(8)).strip()


def _started(pid: int) -> float | None:
    """Seconds since 1970; None without such a process, or when it is a zombie."""
    if not _HAS_PROC:
        process = living(pid)
        return process.create_time() if process else None
    try:
        # The name in the second field may hold blanks and brackets; what follows its last bracket does not.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19]) / _TICKS + _BOOTED


def _marker_of(pid: int) -> str:
    try:
        return psutil.Process(pid).environ().get(MARKER, "")
    except (psutil.Error, OSError):
        return ""


def _descendants(pid: int) -> set[int]:
    """One look at all parents at once: asking each process for its children costs forty times as much."""
    children: dict[int, list[int]] = defaultdict(list)
    for child, parent in _parents():
        children[parent].append(child)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        fresh = [child for child in children[waiting.pop()] if child not in found]
        found.update(fresh)
        waiting.extend(fresh)
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for process in psutil.process_iter():
        try:
            yield process.pid, process.ppid()
        except psutil.Error:
            continue


def _members(leader: int, started: float) -> set[int]:
    """The processes whose session or group the leader opened. What is older than the leader cannot be one of them."""
    found = set()
    for pid in psutil.pids():
        try:
            belongs = os.getsid(pid) == leader or os.getpgid(pid) == leader
        except OSError:
            continue
        if belongs and (_started(pid) or 0) > started - _TOLERANCE:
            found.add(pid)
    return found
