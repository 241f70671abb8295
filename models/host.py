"""How much memory this host has for models: that of the machine, or of the container or service that limits it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from localai_admin.lib.gpu import Gpu

CGROUP = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
#: NVIDIA's driver has a folder for each card here; what they hold, only a program tells.
_NVIDIA = Path("/proc/driver/nvidia/gpus")


class Memory(NamedTuple):
    """Bytes. What could be given back at once, such as cached files, counts as available."""

    total: int
    available: int


@dataclass(frozen=True)
class Host:
    """What a model may use. `gpus` is None when there are cards that were not asked, empty when there are none."""

    memory: Memory
    gpus: tuple[Gpu, ...] | None = ()

    @property
    def gpu_total(self) -> int:
        """Bytes of all cards together; those that do not tell count nothing."""
        return sum(gpu.memory_total or 0 for gpu in self.gpus or ())

    @property
    def gpu_free(self) -> int:
        return sum((gpu.memory_total or 0) - (gpu.memory_used or 0) for gpu in self.gpus or ())


def memory(cgroup: Path = CGROUP, own: Path = _OWN) -> Memory:
    """Of this process: what the machine has, or less when a group of processes that it is in may only have so much."""
    machine = psutil.virtual_memory()
    found = Memory(machine.total, machine.available)
    for folder in _groups(cgroup, own):
        limited = _limited(folder, *_V2) or _limited(folder, *_V1)
        if limited and limited.total < found.total:
            found = limited
    return found


def host_without_asking(nvidia: Path = _NVIDIA) -> Host:
    """The host as far as that can be told without starting a program: for a page that must not wait."""
    return Host(memory(), None if nvidia.is_dir() and any(nvidia.iterdir()) else ())


_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _limited(folder: Path, limit_file: str, used_file: str, cached_name: str) -> Memory | None:
    limit, used = _number_in(folder / limit_file), _number_in(folder / used_file)
    if limit is None or used is None:
        return None
    # Cached file pages are given back when memory runs short; they are not used up.
    cached = next((int(value) for name, value in _pairs(folder / "memory.stat") if name == cached_name), 0)
    return Memory(limit, max(0, limit - max(0, used - cached)))


def _groups(cgroup: Path, own: Path) -> Iterator[Path]:
    """The folders that can limit us: of the root, of the group we are in, and of every group around it."""
    yield cgroup
    yield cgroup / "memory"
    for line in _lines(own):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers not in {"", "memory"}:
            continue
        root = cgroup / controllers if controllers else cgroup
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        yield from (root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    yield from ((name, value) for name, _, value in (line.partition(" ") for line in _lines(path)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
