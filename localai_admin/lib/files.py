"""Files that are either there whole or not at all, also after a loss of power."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path


def atomic_write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file, whatever is there now. Raises OSError, and then leaves what was there."""
    new = path.parent / f".new-{secrets.token_hex(8)}"
    try:
        write_synced(new, data, mode)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def write_synced(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Make a file that was not there, and wait until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def read_small(path: Path, most: int, root: Path | None = None) -> bytes:
    """A small file, whole. Raises OSError, also for what is no plain file, such as a pipe, for one of more than `most`
    bytes, and with `root` for a link that leads out of that folder."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        if root is not None and path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            raise OSError(errno.EXDEV, "it is a link that leads out of its folder")
        data = file.read(most + 1)
        if len(data) > most:
            raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes")
        return data


def make_private(path: Path) -> None:
    """Make an empty file that only its owner can read; from one that is there, take what others may. Raises OSError."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        # By its name: SQLite loses its locks when somebody else closes the file.
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def made_once(path: Path, text: str, mode: int = 0o640) -> str:
    """The text of the file; one that is not there, or empty, gets `text`. Whoever else does so gets the same.

    The name appears with the text in it: somebody killed in the middle leaves no empty file behind for good.
    """
    if path.exists() and not path.stat().st_size:
        path.unlink(missing_ok=True)
    if not path.exists():
        new = path.parent / f".new-{secrets.token_hex(8)}"
        try:
            write_synced(new, text.encode(), mode)
            with contextlib.suppress(FileExistsError):
                os.link(new, path)
        finally:
            new.unlink(missing_ok=True)
        fsync_dir(path.parent)
    return path.read_text()


def fsync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def fsync_dir(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def existing_parent(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def free_space(path: Path) -> int:
    """Bytes that may still be written on the file system where the path is, or would be."""
    return shutil.disk_usage(existing_parent(path)).free
