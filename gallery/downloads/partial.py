"""The bytes of a file that is on its way."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from gallery.downloads import digest
from gallery.downloads.errors import NoSpace, TooLarge
from gallery.downloads.faults import local_faults
from gallery.downloads.state import FileState, State
from localai_admin.lib import files

#: How many bytes may be written before they are waited for, and the free space is looked at again.
_SYNC_EVERY = 256 << 20
_LOOK_EVERY = 32 << 20


class Partial:
    """Appends to the bytes that are here, and knows their digest. Close it: only then are the bytes surely kept."""

    def __init__(self, path: Path, entry: FileState, state: State, reserve: int) -> None:
        self._path, self._entry, self._state, self._reserve = path, entry, state, reserve
        self._hasher = digest.new()
        self._looked_at = 0
        self._taken_up = False
        self.size = 0
        with self._faults():
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_APPEND, 0o644)
            os.fchmod(self._descriptor, 0o644)

    @property
    def validator(self) -> str:
        return self._entry.validator

    @property
    def total(self) -> int | None:
        return self._entry.total

    def take_up(self, tick: Callable[[int], None]) -> None:
        """Read what is here from before; `tick` gets the bytes of each piece, and may raise to stop."""
        with self._faults():
            self.size = digest.feed(self._hasher, self._path, tick)
        self._taken_up = True
        if self._entry.total is not None and self.size > self._entry.total:
            self.restart()

    def begin(self, offset: int, validator: str, total: int | None) -> None:
        """A connection begins that gives the bytes from `offset` on: all that are here, or none."""
        if offset != self.size:
            self.restart()
        self._entry.validator, self._entry.total = validator, total
        self._entry.pieces += 1
        self._save()

    def end(self) -> None:
        """The file ends here: the server that gave the bytes had announced no size."""
        self._entry.total = self.size

    def append(self, data: bytes) -> None:
        """Raises NoSpace when the disk is full or only the reserve is left, TooLarge above the announced size."""
        if self.total is not None and self.size + len(data) > self.total:
            raise TooLarge(f"More than the announced {self.total:,} bytes came.")
        self._look_for_space()
        view = memoryview(data)
        with self._faults(self._missing(0)):
            while view:
                written = os.write(self._descriptor, view)
                self._hasher.update(view[:written])
                self.size += written
                view = view[written:]
        if self.size - self._entry.synced >= _SYNC_EVERY:
            self.sync()

    def restart(self) -> None:
        """Forget the bytes: another version of the file is coming."""
        with self._faults():
            os.truncate(self._descriptor, 0)
        self._hasher, self.size, self._looked_at = digest.new(), 0, 0
        self._entry.synced = self._entry.pieces = 0
        self._entry.validator, self._entry.total = "", None

    def sync(self) -> None:
        """Wait until all bytes are on the disk, and remember that they are."""
        with self._faults():
            os.fsync(self._descriptor)
        self._entry.synced = self.size
        self._save()

    def finish(self) -> str:
        """The digest of all bytes, once they are on the disk."""
        self.sync()
        return self._hasher.hexdigest()

    def close(self) -> None:
        if self._descriptor < 0:
            return
        try:
            if self._taken_up:
                self.sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def _save(self) -> None:
        with self._faults():
            self._state.save()

    @property
    def _models(self) -> Path:
        return self._path.parents[2]

    def _faults(self, missing: int | None = None) -> AbstractContextManager[None]:
        """What cannot be done to the bytes is said of the folder they are for: nobody knows their own name."""
        return local_faults(f"The models folder {self._models}", missing, self._models)

    def _look_for_space(self) -> None:
        if not self._reserve or self.size < self._looked_at:
            return
        self._looked_at = self.size + _LOOK_EVERY
        lacking = self._reserve - files.free_space(self._path.parent)
        if lacking > 0:
            raise NoSpace(self._missing(lacking), str(self._models))

    def _missing(self, lacking: int) -> int | None:
        return None if self.total is None else max(0, self.total - self.size) + lacking
