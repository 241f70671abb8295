"""Whether there is room for what is still to come, before it comes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from gallery.downloads.errors import NoSpace
from localai_admin.lib import files


def check_space(
    needs: Iterable[tuple[Path, int | None]], reserve: int, free: Callable[[Path], int] = files.free_space
) -> None:
    """Raise NoSpace when a file system has not enough for the bytes it is to take, and the reserve after that.

    `needs` are folders, there or not yet, with the bytes missing in each; None stands for an unknown size.
    """
    by_device: dict[int, int] = defaultdict(int)
    folders: dict[int, Path] = {}
    for path, missing in needs:
        there = files.existing_parent(path)
        device = there.stat().st_dev
        folders.setdefault(device, there)
        by_device[device] += missing or 0
    for device, missing in by_device.items():
        lacking = missing + reserve - free(folders[device])
        if missing and lacking > 0:
            raise NoSpace(lacking, str(folders[device]))
