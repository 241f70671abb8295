"""Writing large files fast, and without pushing out of memory what running models need there.

Where the file system knows how, bytes go from our memory to the disk as they are (O_DIRECT): nothing is copied, no
memory is taken for them, and there is nothing left to be waited for at the end. What does not begin and end where the
disk's blocks do goes the ordinary way; the kernel keeps the two apart.
"""

import ctypes
import errno
import os
from contextlib import suppress
from pathlib import Path

_ALIGN = 4096
#: Less than this is not worth a wait for the disk. Bytes.
_WORTH_DIRECT = 64 << 10
_KEEP_SIZE = 1
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DiskBytes:
    """The bytes of one file. All methods raise OSError."""

    def __init__(self, descriptor: int, direct: int) -> None:
        self._descriptor, self._direct = descriptor, direct
        self._opened = [one for one in (descriptor, direct) if one >= 0]

    def reserve(self, total: int) -> None:
        """Take the room for the whole file at once, its size unchanged; where that is not known, go on without."""
        with suppress(AttributeError):
            allocate = ctypes.CDLL(None, use_errno=True).fallocate
            allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
            if allocate(self._descriptor, _KEEP_SIZE, 0, total) and ctypes.get_errno() in _FULL:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def write(self, data: memoryview, offset: int) -> int:
        """Write the beginning of the data, at least a byte; returns how many bytes."""
        head = -offset % _ALIGN
        straight = len(data) - len(data) % _ALIGN
        if self._direct >= 0 and not head and straight >= _WORTH_DIRECT:
            try:
                return os.pwrite(self._direct, data[:straight], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._go_without()
        part = data[:head] if head and len(data) - head >= _WORTH_DIRECT else data
        return os.pwrite(self._descriptor, part, offset)

    def read(self, view: memoryview, offset: int) -> int:
        if self._direct >= 0 and not offset % _ALIGN and len(view) >= _WORTH_DIRECT:
            try:
                return os.preadv(self._direct, [view[: len(view) - len(view) % _ALIGN]], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._go_without()
        return os.preadv(self._descriptor, [view], offset)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        for one in self._opened:
            os.close(one)

    def _go_without(self) -> None:
        """The descriptor stays open until the end: another thread may be in the middle of using it."""
        self._direct = -1


def open_bytes(path: Path) -> DiskBytes:
    """The file, made when it is not there. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    os.fchmod(descriptor, 0o644)
    direct = -1
    with suppress(OSError, AttributeError):
        direct = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_NOFOLLOW)
    return DiskBytes(descriptor, direct)
