"""Graphics cards are read from a program and from files that behave as the drivers' do, also when they misbehave."""

import stat
import subprocess
import time
from pathlib import Path

import pytest

from localai_admin.lib.gpu import PAUSE, Gpu, GpuReader, read_amd, read_nvidia

MIB = 1 << 20


@pytest.fixture
def script(tmp_path: Path):
    def write(body: str) -> str:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def amd_card(drm: Path, name: str, **files: str) -> None:
    device = drm / name / "device"
    device.mkdir(parents=True)
    for file, text in files.items():
        (device / file).write_text(f"{text}\n")


def test_every_card_that_nvidia_smi_lists_is_read(script) -> None:
    binary = script("echo 'NVIDIA L4, 23034, 512, 7'; echo 'NVIDIA L4, 23034, 0, 0'")
    assert read_nvidia(binary) == [
        Gpu("NVIDIA L4", 23034 * MIB, 512 * MIB, 7.0),
        Gpu("NVIDIA L4", 23034 * MIB, 0, 0.0),
    ]


def test_a_figure_the_driver_does_not_know_is_none(script) -> None:
    binary = script("echo 'Orin (nvgpu), [N/A], [N/A], [N/A]'")
    assert read_nvidia(binary) == [Gpu("Orin (nvgpu)", None, None, None)]


def test_a_program_that_hangs_costs_its_deadline_and_no_more(script) -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        read_nvidia(script("sleep 30"), deadline=0.2)
    assert time.monotonic() - began < 5


def test_a_program_that_fails_is_left_alone_for_a_while(script, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    reader = GpuReader(script(f"echo x >> {calls}; exit 9"), drm=tmp_path / "drm")
    assert [reader.read(now) for now in (100.0, 101.0, 100.0 + PAUSE + 1)] == [[], [], []]
    assert calls.read_text().split() == ["x", "x"]


def test_a_card_of_amd_is_read_from_sysfs(tmp_path: Path) -> None:
    amd_card(tmp_path, "card0", mem_info_vram_total="17163091968", mem_info_vram_used="2097152", gpu_busy_percent="42")
    amd_card(tmp_path, "card1", mem_info_vram_total="1024", product_name="Radeon PRO W7900")
    amd_card(tmp_path, "card2", vendor="0x8086")
    assert read_amd(tmp_path) == [
        Gpu("AMD GPU", 17163091968, 2097152, 42.0),
        Gpu("Radeon PRO W7900", 1024, None, None),
    ]


def test_a_host_without_a_card_has_none(tmp_path: Path) -> None:
    assert read_amd(tmp_path / "missing") == []
    assert GpuReader(str(tmp_path / "missing"), drm=tmp_path).read(1.0) == []
