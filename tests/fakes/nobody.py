"""What another user, or one without the right to write, sees of a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def as_nobody(*folders: Path) -> Iterator[None]:
    """As another user, who may look into the folders, and write into the console's own ones; or without the right."""
    if os.geteuid():
        folders[-1].chmod(0o500)
        try:
            yield
        finally:
            folders[-1].chmod(0o700)
        return
    ways = {path: path.stat().st_mode for folder in folders for path in (folder, *folder.parents)}
    before = {path: mode for path, mode in ways.items() if mode & 0o005 != 0o005}
    for path, mode in before.items():
        path.chmod(mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in before.items():
            path.chmod(mode)
