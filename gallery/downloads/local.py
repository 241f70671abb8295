"""Reading files of this machine, or a piece of one, as if they came from somewhere else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gallery.downloads.errors import LocalFault, NotFound
from gallery.downloads.schemes.source import Source


@dataclass(frozen=True)
class LocalFile:
    """`piece` is the first byte and the size of what counts as the file; None for all of it."""

    path: Path
    piece: tuple[int, int] | None = None

    @classmethod
    def of(cls, source: Source) -> "LocalFile":
        return cls(Path(source.location), source.piece)

    @property
    def name(self) -> str:
        return self.path.name

    def stat(self) -> tuple[int, str]:
        """Size, and what tells this version from another. Raises NotFound."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise NotFound(f"{self.name} is not there: {error.strerror}.") from None
        begin, size = self.piece or (0, status.st_size)
        where = f"-{begin}" if self.piece else ""
        return size, f"{status.st_size}-{status.st_mtime_ns}{where}"

    def open(self, offset: int, end: int) -> tuple[Callable[[memoryview], int], Callable[[], None]]:
        """What puts the next bytes into a view and says how many, 0 at `end`; and what closes. Raises LocalFault."""
        left = end - offset
        try:
            file = self.path.open("rb", buffering=0)
            file.seek(self._begin + offset)
        except OSError as error:
            raise self._fault(error) from None

        def receive(view: memoryview) -> int:
            nonlocal left
            try:
                count = file.readinto(view[:left])
            except OSError as error:
                raise self._fault(error) from None
            left -= count
            return count

        return receive, file.close

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes, fewer only at the end. Raises NotFound, LocalFault."""
        size, _ = self.stat()
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self._begin + offset)
                return file.read(max(0, min(length, size - offset)))
        except OSError as error:
            raise self._fault(error) from None

    @property
    def _begin(self) -> int:
        return self.piece[0] if self.piece else 0

    def _fault(self, error: OSError) -> LocalFault:
        return LocalFault(f"{self.name} cannot be read: {error.strerror}.")
