"""Ingest, verify, commit: bytes gather in `<models>/.ingest/<job>/`, and nothing is seen before everything is right."""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from gallery.downloads import digest, places, placing
from gallery.downloads.errors import DigestMismatch, FileGone, NameTaken
from gallery.downloads.faults import local_faults
from gallery.downloads.partial import Partial
from gallery.downloads.specs import FileSpec
from gallery.downloads.state import FileState, Move, State, boot_id
from localai_admin.lib.files import write_synced
from localai_admin.lib.paths import UnsafePath

log = logging.getLogger(__name__)

_SUSPECTS = "suspect"

Tick = Callable[[int], None]


def _no_tick(_count: int) -> None:
    """For those who do not want to know, nor to stop."""


class Ingest:
    """The folder of one job. Making one takes up what an earlier worker left: its bytes, or half of its commit.

    `owned` are file names that may be replaced: those that only the model which is installed anew has there now. It
    may be set again, for others may have begun to use one of them since.
    `reserve` is how many bytes stay free on the disk.
    """

    def __init__(self, models_path: Path, job_id: str, *, owned: Collection[str] = (), reserve: int = 0) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", job_id) or job_id == _SUSPECTS:
            raise ValueError(f"{job_id!r} is no id of a job")
        self.models = models_path
        self.folder = models_path / places.INGEST / job_id
        self.owned = frozenset(owned)
        self.reserve = reserve
        with local_faults(f"The models folder {models_path}", where=models_path):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._state = State.load(self.folder / "state.json")
            self._recover()
            self._forget_unsynced()

    @property
    def committed(self) -> bool:
        """Whether everything is in place, maybe by an earlier worker that died before it could say so.

        Then only discard is left.
        """
        return self._state.committed

    def target(self, filename: str) -> Path:
        """Where a file will be. Raises UnsafeName, and NameTaken when a name there differs only by case or form."""
        return places.of_file(self.models, filename)

    def is_here(self, file: FileSpec, size: int | None = None, tick: Tick = _no_tick) -> bool:
        """Whether the very file is in the models folder already.

        It is compared by its digest; when the file has none, by `size`, where the server says one. Raises NameTaken
        when another file has that name, unless the name is `owned`.
        """
        target = self.target(file.filename)
        if not target.is_file():
            return False
        if file.sha256:
            same = self._has_digest(target, file, tick)
        else:
            same = size is not None and target.stat().st_size == size
        if not same and file.filename not in self.owned:
            raise NameTaken(f"The models folder has another file called {file.filename}, which this would replace.")
        return same

    def is_verified(self, file: FileSpec) -> bool:
        """Whether all bytes of the file are here and right, from this worker or an earlier one."""
        entry = self._entry(file)
        return bool(entry and entry.verified and (self.folder / entry.part).exists())

    def size_of(self, file: FileSpec) -> int:
        """Bytes of the file that are in the job's folder."""
        entry = self._entry(file)
        path = self.folder / entry.part if entry else None
        return path.stat().st_size if path and path.exists() else 0

    def open(self, file: FileSpec, tick: Tick = _no_tick) -> Partial:
        """The file's bytes so far, read again for their digest. `tick` may raise to stop. Close what is returned."""
        self.target(file.filename)
        entry = self._entry(file) or self._new_entry(file)
        partial = Partial(self.folder / entry.part, entry, self._state, self.reserve)
        try:
            partial.take_up(tick)
        except BaseException:
            partial.close()
            raise
        return partial

    def verify(self, file: FileSpec, partial: Partial) -> None:
        """Accept the whole file; raises DigestMismatch, and then keeps the bytes aside, where nothing serves them."""
        entry = self._state.files[file.filename]
        got = partial.finish()
        if file.sha256 and got != file.sha256:
            partial.close()
            self._put_aside(file, entry, got)
            raise DigestMismatch(file.filename, file.sha256, got, retry=entry.pieces > 1)
        entry.verified = got
        with local_faults(file.filename):
            self._state.save()

    def commit(self, files: Sequence[FileSpec], texts: Sequence[tuple[str, bytes]]) -> None:
        """Put everything in place: the files, then the texts in their order. The last text makes the model visible.

        What another install has brought meanwhile is left as it is. Raises FileGone when a file is neither verified nor
        there any more, NameTaken, UnsafeName, NoSpace or LocalFault; what was there before is then there again, and
        the bytes are kept. After it, `committed` is true until the rest is discarded.
        """
        pending = [file for file in files if not self._is_in_place(file)]
        if missing := [file.filename for file in pending if not self.is_verified(file)]:
            raise FileGone(f"{missing[0]} was in the models folder when it was looked for, and is not there any more.")
        texts = [(name, data) for name, data in texts if not self._says(name, data)]
        names = [file.filename for file in pending] + [name for name, _ in texts]
        self._check_places(files, [name for name, _ in texts], names)
        with local_faults(f"The models folder {self.models}", where=self.models):
            sources = [self._state.files[file.filename].part for file in pending] + self._staged(texts)
            self._state.moves = [Move(a, b, f"{a}.before") for a, b in zip(sources, names, strict=True)]
            self._state.made = placing.folders_to_make(self.models, names)
            self._state.save()
            self._place()

    def discard(self) -> None:
        """Remove the job's folder with all its bytes. What cannot be removed is only logged."""
        shutil.rmtree(self.folder, onerror=_log_leftover)
        try:
            self.folder.parent.rmdir()
        except OSError:
            return  # Other jobs have bytes there.

    def _place(self) -> None:
        try:
            placing.place(self.folder, self.models, self._state.moves, self._state.made)
            self._state.committed = True
        except (OSError, UnsafePath) as error:
            self._recover()
            if not self.committed:
                raise
            log.warning("the last move of a commit was made, but then: %s", error)

    def _recover(self) -> None:
        """It failed, or the worker died, while files were put in place: undo that, unless it was as good as done."""
        if not self._state.moves:
            return
        self._state.committed = placing.is_complete(self.folder, self._state.moves)
        if not self._state.committed:
            placing.take_back(self.folder, self.models, self._state.moves, self._state.made)
        self._state.moves, self._state.made = [], []
        self._state.save()

    def _forget_unsynced(self) -> None:
        """After a loss of power only the bytes that were waited for are surely what was written."""
        if self._state.survived_power():
            return
        for entry in self._state.files.values():
            part = self.folder / entry.part
            if part.exists() and part.stat().st_size > entry.synced:
                os.truncate(part, entry.synced)
        self._state.boot = boot_id()
        self._state.save()

    def _is_in_place(self, file: FileSpec) -> bool:
        """Whether nothing has to be moved for this file."""
        target = self.target(file.filename)
        if not self.is_verified(file):
            return target.is_file() if not file.sha256 else self.is_here(file)
        same_size = target.is_file() and target.stat().st_size == self.size_of(file)
        return same_size and self.is_here(file, self.size_of(file))

    def _says(self, name: str, data: bytes) -> bool:
        """Whether the text is there already, such as a template that another model brought."""
        place = places.of_text(self.models, name)
        with local_faults(name):
            return place.is_file() and place.stat().st_size == len(data) and place.read_bytes() == data

    def _check_places(self, files: Sequence[FileSpec], texts: Sequence[str], moving: Sequence[str]) -> None:
        places.refuse_twins([file.filename for file in files] + list(texts))
        for name in moving:
            place = places.of_text(self.models, name) if name in texts else self.target(name)
            if os.path.lexists(place) and name not in self.owned:
                raise NameTaken(f"The models folder has a file called {name} already, which this would replace.")

    def _staged(self, texts: Sequence[tuple[str, bytes]]) -> list[str]:
        """Write the texts into the job's folder; returns the names they have there."""
        sources = [f"{number}.text" for number in range(len(texts))]
        for source, (_, data) in zip(sources, texts, strict=True):
            (self.folder / source).unlink(missing_ok=True)
            write_synced(self.folder / source, data, 0o644)
        return sources

    def _entry(self, file: FileSpec) -> FileState | None:
        """What is known of the file; nothing when it was another file at another address."""
        entry = self._state.files.get(file.filename)
        return entry if entry and (entry.uri, entry.sha256) == (file.uri, file.sha256) else None

    def _new_entry(self, file: FileSpec) -> FileState:
        part = f"{hashlib.sha256(file.filename.encode()).hexdigest()[:16]}.part"
        entry = FileState(part, file.uri, file.sha256)
        with local_faults(file.filename):
            (self.folder / entry.part).unlink(missing_ok=True)
        self._state.files[file.filename] = entry
        return entry

    def _has_digest(self, target: Path, file: FileSpec, tick: Tick) -> bool:
        """Whether the file in the models folder has the digest. A file found right once is not read again."""
        with local_faults(file.filename):
            status = target.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            entry = self._entry(file)
            if entry and entry.here == stamp:
                return True
            hasher = digest.new()
            digest.feed(hasher, target, tick)
            if hasher.hexdigest() != file.sha256:
                return False
            (entry or self._new_entry(file)).here = stamp
            self._state.save()
        return True

    def _put_aside(self, file: FileSpec, entry: FileState, got: str) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(file.filename).name)[-100:]
        suspects = self.folder.parent / _SUSPECTS
        with local_faults(file.filename):
            suspects.mkdir(mode=0o700, exist_ok=True)
            (self.folder / entry.part).replace(suspects / f"{got[:16]}-{name}")
            del self._state.files[file.filename]
            self._state.save()


def _log_leftover(_function: object, path: str, error: object) -> None:
    log.warning("could not remove %s: %s", path, error)
