"""One look at everything in a folder."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from localai_admin.lib.paths import is_plain

_BLOCK = 512


class Found(NamedTuple):
    """A file; its name is relative to the folder, with `/`. `taken` is what it has on the disk, in bytes.

    `inode` is the same for several names of one file, `links` how many names there are, wherever. `is_link` is a
    symbolic link, which is never followed.
    """

    name: str
    size: int
    taken: int
    mtime_ns: int
    inode: tuple[int, int]
    links: int
    is_link: bool = False

    @property
    def is_hidden(self) -> bool:
        return self.name.startswith(".")


def walk(root: Path) -> list[Found]:
    """Every file below the folder, sorted by name; none when it is not there. No link is followed.

    Folders that cannot be read, and names that no page can show, are left out.
    """
    found: list[Found] = []
    waiting = [(os.fspath(root), "")]
    while waiting:
        path, prefix = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not is_plain(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, f"{prefix}{entry.name}/"))
                    elif (one := _found(entry, prefix)) is not None:
                        found.append(one)
        except OSError:
            continue
    found.sort()
    return found


def _found(entry: "os.DirEntry[str]", prefix: str) -> Found | None:
    """None for what is neither a file nor a link, or is gone since it was listed."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        return None
    return Found(
        prefix + entry.name,
        status.st_size,
        status.st_blocks * _BLOCK,
        status.st_mtime_ns,
        (status.st_dev, status.st_ino),
        status.st_nlink,
        stat.S_ISLNK(status.st_mode),
    )
