"""The bytes of a file that is on its way: written where they belong, in whatever order they come."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Condition

from gallery.downloads import disk, journal
from gallery.downloads.errors import NoSpace, TooLarge
from gallery.downloads.faults import local_faults
from gallery.downloads.journal import Journal, Known
from gallery.downloads.ranges import Ranges
from gallery.downloads.state import FileState
from localai_admin.lib import files

#: How many bytes may be written before the free space is looked at again.
_LOOK_EVERY = 32 << 20
#: Smaller files are not given their space before their bytes.
_WORTH_RESERVING = 4 << 20


class Partial:
    """Takes up what an earlier worker left. May be written to by several threads; close it when done.

    Once closed, or once `give_up` was called because another version of the file is coming, what late threads write is
    lost: they hold the old file, which has no name any more.
    """

    def __init__(self, path: Path, entry: FileState, reserve: int) -> None:
        self._path, self._entry, self._reserve = path, entry, reserve
        self._state = Condition()
        self._users = 0
        self._looked_at = 0
        self._unsynced = 0
        self.closed = False
        with self._faults():
            self._known = self._taken_up()
            self._bytes = disk.open_bytes(path)
            self._journal = Journal(path)

    @property
    def validator(self) -> str:
        return self._known.validator

    @property
    def total(self) -> int | None:
        return self._known.total

    @property
    def pieces(self) -> int:
        return self._known.pieces

    @property
    def count(self) -> int:
        """Bytes that are here."""
        return self._known.here.count

    @property
    def is_complete(self) -> bool:
        return self.total is not None and self.count >= self.total

    def gaps(self) -> list[tuple[int, int]]:
        """What is missing, in order; nothing while the size is unknown."""
        with self._state:
            return self._known.here.gaps(self.total or 0)

    def end_of(self, offset: int) -> int:
        """How far the bytes are here without a gap, from `offset` on."""
        with self._state:
            return self._known.here.end_of(offset)

    def begin(self, validator: str, total: int | None) -> None:
        """A connection begins. Raises NoSpace when the disk cannot take a file of that size."""
        with self._state:
            first = self._known.total is None
            self._known.validator = validator or self._known.validator
            self._known.total = total if total is not None else self._known.total
            self._known.pieces += 1
            self._write_down()
        if first and total and total >= _WORTH_RESERVING:
            with self._using() as usable, self._faults(self._missing(0)):
                if usable:
                    self._bytes.reserve(total)

    def end(self, total: int) -> None:
        """The file ends here: the server that gave the bytes had announced no size."""
        with self._state:
            self._known.total = total
            self._write_down()

    def write(self, data: memoryview, offset: int) -> bool:
        """Raises NoSpace when the disk is full or only the reserve is left, TooLarge above the announced size.

        Returns whether the bytes count: not when the file was given up meanwhile.
        """
        if self.total is not None and offset + len(data) > self.total:
            raise TooLarge(f"More than the announced {self.total:,} bytes came.")
        self._look_for_space()
        with self._using() as usable:
            if not usable:
                return False
            written = 0
            try:
                with self._faults(self._missing(0)):
                    while written < len(data):
                        written += self._bytes.write(data[written:], offset + written)
            finally:
                self._wrote(offset, offset + written)
        return True

    def read(self, view: memoryview, offset: int) -> int:
        """Bytes that are here, into `view`; returns how many, 0 when the file was closed."""
        with self._using() as usable, self._faults():
            return self._bytes.read(view, offset) if usable else 0

    def sync(self) -> bool:
        """Wait until the bytes that are here now are on the disk, and note that they are. Returns whether any were new.

        The note holds once the state is saved.
        """
        with self._using() as usable:
            if not usable or not self._unsynced:
                return False
            with self._state:
                known = list(self._known.here)
                self._unsynced = 0
            with self._faults():
                self._bytes.sync()
            with self._state:
                self._entry.synced = [list(one) for one in known]
                self._entry.validator, self._entry.total = self._known.validator, self._known.total
                self._entry.pieces = self._known.pieces
        return True

    def wait(self, offset: int, seconds: float) -> None:
        """Until there is something at `offset`, all is here or it is closed; not longer than so many seconds."""
        with self._state:
            if self._known.here.end_of(offset) == offset and not self.closed:
                self._state.wait(seconds)

    def give_up(self) -> None:
        """Forget the bytes: another version of the file is coming. The name is free after it."""
        with self._faults():
            journal.forget(self._path)
            self._path.unlink(missing_ok=True)
        self._entry.synced, self._entry.validator, self._entry.total, self._entry.pieces = [], "", None, 0
        self.close()

    def close(self) -> None:
        """Threads that are in the middle of a write or read are waited for."""
        with self._state:
            if self.closed:
                return
            self.closed = True
            self._state.notify_all()
            self._state.wait_for(lambda: not self._users)
        self._bytes.close()
        self._journal.close()

    def _taken_up(self) -> Known:
        known = journal.read(self._path) if self._path.is_file() and not self._path.is_symlink() else None
        whole = known and (known.total is None or known.here.count <= known.total)
        if known and whole:
            return known
        # What is there without a journal is none of ours: it may be a second name of another model's file.
        journal.forget(self._path)
        self._path.unlink(missing_ok=True)
        self._entry.synced = []
        return Known()

    def _wrote(self, start: int, end: int) -> None:
        with self._state:
            self._known.here.add(start, end)
            self._unsynced += end - start
            if not self.closed:
                self._write_down()
            self._state.notify_all()

    def _write_down(self) -> None:
        with self._faults(self._missing(0)):
            self._journal.write(self._known)

    @contextmanager
    def _using(self) -> Iterator[bool]:
        with self._state:
            if self.closed:
                usable = False
            else:
                usable = True
                self._users += 1
        try:
            yield usable
        finally:
            if usable:
                with self._state:
                    self._users -= 1
                    self._state.notify_all()

    @property
    def _models(self) -> Path:
        return self._path.parents[2]

    def _faults(self, missing: int | None = None) -> AbstractContextManager[None]:
        """What cannot be done to the bytes is said of the folder they are for: nobody knows their own name."""
        return local_faults(f"The models folder {self._models}", missing, self._models)

    def _look_for_space(self) -> None:
        if not self._reserve or self.count < self._looked_at:
            return
        self._looked_at = self.count + _LOOK_EVERY
        lacking = self._reserve - files.free_space(self._path.parent)
        if lacking > 0:
            raise NoSpace(self._missing(lacking), str(self._models))

    def _missing(self, lacking: int) -> int | None:
        """What the disk would need, besides what it has and what the file was given."""
        if self.total is None:
            return None
        with suppress(OSError):
            taken = self._path.stat().st_blocks * 512
            free = files.free_space(self._path.parent)
            return max(0, self.total - max(taken, self.count) - (0 if lacking else free)) + lacking
        return max(0, self.total - self.count) + lacking


def bytes_here(path: Path) -> int:
    """How many bytes of the file at `path` are there: neither its size nor the room it takes tells."""
    known = journal.read(path) if path.exists() else None
    return known.here.count if known else 0


def trust_only(path: Path, entry: FileState) -> None:
    """After a loss of power: only the bytes that were waited for are surely what was written. Raises OSError."""
    if not path.exists():
        return
    kept = Journal(path)
    try:
        here = Ranges((start, end) for start, end in entry.synced)
        kept.write(Known(entry.validator, entry.total, entry.pieces, here))
    finally:
        kept.close()
