"""How much memory a host has, where something limits it."""

from pathlib import Path

import psutil
import pytest

from models.host import host_without_asking, memory

MIB = 1 << 20
NONE = Path("/nowhere")


def version_2(folder: Path, limit: int | str, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")


def version_1(folder: Path, limit: int, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"cache 5\ntotal_inactive_file {cached}\n")


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    assert memory(tmp_path, NONE).total == psutil.virtual_memory().total
    version_2(tmp_path, "max", 5)
    assert memory(tmp_path, NONE).total == psutil.virtual_memory().total


@pytest.mark.parametrize("limited", [version_2, version_1], ids=["version 2", "version 1"])
def test_a_container_has_what_its_limit_leaves_and_cached_files_are_not_used_up(tmp_path: Path, limited) -> None:
    limited(tmp_path if limited is version_2 else tmp_path / "memory", 512 * MIB, 300 * MIB, 200 * MIB)
    assert memory(tmp_path, NONE) == (512 * MIB, 412 * MIB)


def test_the_limit_of_a_service_or_of_what_is_around_it_counts(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/system.slice/console.service\n")
    version_2(tmp_path / "system.slice", 256 * MIB, 100 * MIB)
    version_2(tmp_path / "system.slice/console.service", 512 * MIB, 50 * MIB)
    assert memory(tmp_path, own) == (256 * MIB, 156 * MIB)


def test_the_first_version_names_its_group_by_controller(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("12:cpu:/x\n5:memory:/docker/abc\n")
    version_1(tmp_path / "memory/docker/abc", 128 * MIB, 28 * MIB)
    assert memory(tmp_path, own) == (128 * MIB, 100 * MIB)


def test_a_first_version_without_a_limit_says_so_with_a_number_nobody_has(tmp_path: Path) -> None:
    version_1(tmp_path / "memory", 0x7FFFFFFFFFFFF000, 5)
    assert memory(tmp_path, NONE).total == psutil.virtual_memory().total


def test_a_card_whose_program_was_not_asked_is_not_called_absent(tmp_path: Path) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    assert host_without_asking(tmp_path).gpus is None
    assert host_without_asking(tmp_path / "none").gpus == ()
