"""What process trees and the host use at a moment, measured against the moment before."""

import os
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from localai_admin.lib.files import existing_parent
from models import host
from models.host import CGROUP
from models.runtime.identity import Identity

Key = TypeVar("Key", bound=Hashable)

_CPU_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_STATUS_FIELDS = {
    "rss": "VmRSS",
    "vms": "VmSize",
    "hwm": "VmHWM",
    "data": "VmData",
    "stack": "VmStk",
    "locked": "VmLck",
    "swap": "VmSwap",
}


@dataclass(frozen=True)
class TreeUsage:
    """One process with everything below it and in its session; CPU in percent of one core, memory resident bytes."""

    cpu_percent: float
    rss: int
    processes: int


@dataclass(frozen=True)
class HostUsage:
    """The host: CPU in percent of all cores, memory and the file system of a path in bytes."""

    cpu_percent: float
    cores: int
    memory_total: int
    memory_used: int
    disk_total: int
    disk_free: int


@dataclass(frozen=True)
class ProcessSample:
    """A process tree at one moment: bytes by kind, share of the host's memory, CPU of one core since it began."""

    memory_info: dict[str, int]
    memory_percent: float
    cpu_percent: float


class _Seen(NamedTuple):
    """One live process in the table of a tick."""

    process: psutil.Process
    parent: int
    session: int


class _Reading(NamedTuple):
    """CPU seconds of one process when it was last looked at."""

    process: psutil.Process
    seconds: float


class Sampler:
    """Measures again and again; CPU is over the time since the measurement before. One thread at a time."""

    def __init__(self) -> None:
        self._trees: dict[Hashable, tuple[float, dict[int, _Reading]]] = {}
        self._host = psutil.cpu_times()
        self._host_percent = 0.0

    def sample_trees(self, roots: Mapping[Key, tuple[int, float]]) -> dict[Key, TreeUsage]:
        """What each tree uses; `roots` gives process id and start time (seconds since 1970).

        A root that is gone, is a zombie, or whose id now belongs to another process is not in the answer. The first
        time a tree is seen its CPU is the average since its root began.
        """
        table = process_table()
        children = _children(table)
        result: dict[Key, TreeUsage] = {}
        for key, (pid, started) in roots.items():
            members = tree(table, children, pid, started)
            if usage := self._measure(key, members, started):
                result[key] = usage
        self._trees = {seen: readings for seen, readings in self._trees.items() if seen in result}
        return result

    def _measure(self, key: Hashable, members: list[psutil.Process], started: float) -> TreeUsage | None:
        now = time.monotonic()
        before_at, before = self._trees.get(key, (None, {}))
        readings: dict[int, _Reading] = {}
        rss, spent = 0, 0.0
        for process in members:
            if (found := _read(process)) is None:
                continue
            seconds, resident = found
            rss += resident
            known = before.get(process.pid)
            # A process that is new to the tree has spent all its time since the last look.
            spent += seconds - (known.seconds if known and known.process == process else 0.0)
            readings[process.pid] = _Reading(process, seconds)
        if not readings or members[0].pid not in readings:
            return None
        elapsed = time.time() - started if before_at is None else now - before_at
        self._trees[key] = (now, readings)
        return TreeUsage(max(0.0, spent / max(elapsed, 0.01) * 100), rss, len(readings))

    def host(self, path: Path) -> HostUsage:
        """The whole host, with the file system that holds `path`, or the nearest folder above it that exists."""
        now, before = psutil.cpu_times(), self._host
        total = _total(now) - _total(before)
        if total > 0:
            idle = _idle(now) - _idle(before)
            self._host, self._host_percent = now, min(100.0, max(0.0, (total - idle) / total * 100))
        memory_total, memory_used = host_memory()
        disk = psutil.disk_usage(str(existing_parent(path)))
        return HostUsage(
            cpu_percent=self._host_percent,
            cores=psutil.cpu_count() or 1,
            memory_total=memory_total,
            memory_used=memory_used,
            disk_total=disk.total,
            disk_free=disk.free,
        )


def process_table() -> dict[int, _Seen]:
    """Every process that is not a zombie, by id: one pass over the process list."""
    table: dict[int, _Seen] = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                if process.status() != psutil.STATUS_ZOMBIE:
                    table[process.pid] = _Seen(process, process.ppid(), os.getsid(process.pid))
        except (psutil.Error, OSError):
            continue  # gone since it was listed
    return table


def _children(table: Mapping[int, _Seen]) -> dict[int, list[int]]:
    """Ids by the parent's id, and by the session's for those that are not its leader."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid, seen in table.items():
        children[seen.parent].append(pid)
        if seen.session not in {pid, seen.parent}:
            children[seen.session].append(pid)
    return children


def tree(
    table: Mapping[int, _Seen], children: Mapping[int, list[int]], pid: int, started: float
) -> list[psutil.Process]:
    """The root first, then all below it and in its session; empty when the root is not the process it was."""
    root = table.get(pid)
    if root is None or not Identity(pid, started).is_alive():
        return []
    members, waiting = {pid}, [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in members:
                members.add(child)
                waiting.append(child)
    return [root.process, *(table[member].process for member in sorted(members - {pid}))]


def _read(process: psutil.Process) -> tuple[float, int] | None:
    """CPU seconds and resident bytes; None when it is gone or not ours to read."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            return times.user + times.system, process.memory_info().rss
    except psutil.Error:
        return None


def sample_process(pid: int, started: float) -> ProcessSample | None:
    """One look at a process tree, with nothing to compare to; None when the process is gone."""
    table = process_table()
    members = tree(table, _children(table), pid, started)
    readings = [found for process in members if (found := _read(process))]
    if not readings:
        return None
    memory = _summed(process_memory(process.pid) for process in members)
    lifetime = max(time.time() - started, 0.01)
    return ProcessSample(
        memory_info=memory,
        memory_percent=sum(rss for _, rss in readings) / psutil.virtual_memory().total * 100,
        cpu_percent=sum(seconds for seconds, _ in readings) / lifetime * 100,
    )


def process_memory(pid: int) -> dict[str, int]:
    """Bytes by kind (rss, vms, hwm, data, stack, locked, swap), as far as the system tells them."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return _portable_memory(pid)
    told = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {kind: int(told[field].split()[0]) * 1024 for kind, field in _STATUS_FIELDS.items() if field in told}


def _portable_memory(pid: int) -> dict[str, int]:
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return {}
    return {"rss": memory.rss, "vms": memory.vms}


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for kind, count in part.items():
            total[kind] = total.get(kind, 0) + count
    return total


def host_memory(cgroup: Path = CGROUP) -> tuple[int, int]:
    """(total, used) bytes: of the container when its limit is below what the machine has, else of the machine."""
    memory = host.memory(cgroup)
    return memory.total, memory.total - memory.available


def _total(times: object) -> float:
    """All the time that passed; guests are counted in user already."""
    return sum(getattr(times, kind, 0.0) for kind in _CPU_KINDS)


def _idle(times: object) -> float:
    return float(getattr(times, "idle", 0.0) + getattr(times, "iowait", 0.0))
