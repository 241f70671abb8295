"""What the graphics cards use: NVIDIA's through nvidia-smi, AMD's through sysfs. Unknown is None, never zero."""

import contextlib
import csv
import logging
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

#: How long nvidia-smi may take, and how long it is left alone after it failed. Seconds.
DEADLINE = 2.0
PAUSE = 60.0

_QUERY = "--query-gpu=name,memory.total,memory.used,utilization.gpu"
_DRM = Path("/sys/class/drm")


@dataclass(frozen=True)
class Gpu:
    """One card: bytes, and load in percent; None where the driver does not say."""

    name: str
    memory_total: int | None
    memory_used: int | None
    load: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class GpuReader:
    """Reads every card of the host, and does not ask a driver that hangs again at each tick."""

    def __init__(self, nvidia_smi: str | None = None, drm: Path = _DRM) -> None:
        self._nvidia_smi = nvidia_smi or shutil.which("nvidia-smi")
        self._drm = drm
        self._ask_again_at = 0.0

    def read(self, now: float) -> list[Gpu]:
        """The cards, none without one. `now` is a monotonic time in seconds."""
        cards = read_amd(self._drm)
        if self._nvidia_smi and now >= self._ask_again_at:
            try:
                return [*read_nvidia(self._nvidia_smi), *cards]
            except (OSError, subprocess.SubprocessError) as error:
                log.warning("nvidia-smi does not answer, asked again in %d s: %s", PAUSE, error)
                self._ask_again_at = now + PAUSE
        return cards


def read_nvidia(binary: str, deadline: float = DEADLINE) -> list[Gpu]:
    """Raises OSError or subprocess.SubprocessError when the binary fails or is too slow."""
    command = [binary, _QUERY, "--format=csv,noheader,nounits"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
    try:
        output, _ = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        _abandon(process)
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return parse_nvidia(output.splitlines())


def _abandon(process: "subprocess.Popen[str]") -> None:
    """Kill it, but do not wait for good: inside a driver that hangs, a process cannot even be killed."""
    process.kill()
    if process.stdout:
        process.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)


def parse_nvidia(lines: Iterable[str]) -> list[Gpu]:
    """Lines of name, MiB in all, MiB used, percent; a figure in brackets, such as [N/A], is not known."""
    rows = [row for row in csv.reader(lines, skipinitialspace=True) if len(row) == 4]
    return [Gpu(name, _mebibytes(total), _mebibytes(used), _number(load)) for name, total, used, load in rows]


def read_amd(drm: Path = _DRM) -> list[Gpu]:
    """Cards whose driver tells its memory in sysfs (amdgpu)."""
    devices = sorted(path.parent for path in drm.glob("card*/device/mem_info_vram_total"))
    return [_amd(device) for device in devices]


def _amd(device: Path) -> Gpu:
    total, used, load = (
        _number(_read(device / file)) for file in ("mem_info_vram_total", "mem_info_vram_used", "gpu_busy_percent")
    )
    name = _read(device / "product_name") or "AMD GPU"
    return Gpu(name, None if total is None else int(total), None if used is None else int(used), load)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _mebibytes(text: str) -> int | None:
    value = _number(text)
    return None if value is None else int(value * (1 << 20))
