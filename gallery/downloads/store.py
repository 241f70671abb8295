"""Ingest, verify, commit: bytes gather in `<models>/.ingest/<job>/`, and nothing is seen before everything is right."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from threading import RLock

from gallery.downloads import digest, journal, keeping, places, placing, suspects
from gallery.downloads.errors import DigestMismatch, FileGone, LocalFault, NameTaken
from gallery.downloads.faults import local_faults
from gallery.downloads.partial import Partial, bytes_here, trust_only
from gallery.downloads.specs import FileSpec
from gallery.downloads.state import FileState, Move, State, boot_id
from gallery.downloads.unpacking import unpack
from localai_admin.lib.files import fsync_dir, fsync_file, write_synced
from localai_admin.lib.paths import UnsafePath, inside

log = logging.getLogger(__name__)

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
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", job_id) or job_id == suspects.FOLDER:
            raise ValueError(f"{job_id!r} is no id of a job")
        self.models = models_path
        self.folder = models_path / places.INGEST / job_id
        self.owned = frozenset(owned)
        self.reserve = reserve
        self._lock = RLock()
        self._unsynced: list[Path] = []
        self._places: dict[str, Path] = {}
        with local_faults(f"The models folder {models_path}", where=models_path):
            _refuse_link(self.folder.parent)
            places.make_ingest(models_path, job_id)
            _refuse_link(self.folder)
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
        """Where a file will be. Raises UnsafeName, and NameTaken when a name there differs only by case or form.

        It was looked at once; a commit looks anew.
        """
        if filename not in self._places:
            self._places[filename] = places.of_file(self.models, filename)
        return self._places[filename]

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

    def digests(self, files: Iterable[FileSpec]) -> dict[str, str]:
        """The digests of the files that were downloaded here, by name; also of those that had none to be checked by."""
        known = ((file.filename, self._entry(file)) for file in files)
        return {name: entry.verified for name, entry in known if entry and entry.verified}

    def size_of(self, file: FileSpec) -> int:
        """Bytes of the file that are in the job's folder."""
        entry = self._entry(file)
        path = self.folder / entry.part if entry else None
        if entry is None or path is None or not path.exists():
            return 0
        return path.stat().st_size if entry.verified else bytes_here(path)

    def room_for(self, file: FileSpec, total: int) -> int:
        """Bytes that the disk still has to give for a file of this size: some are here, or have their room already."""
        entry = self._entry(file)
        path = self.folder / entry.part if entry else None
        taken = path.stat().st_blocks * 512 if path and path.exists() else 0
        return max(0, total - max(taken, self.size_of(file)))

    def prepare(self, files: Sequence[FileSpec]) -> None:
        """Remember what is going to be fetched, so that the next worker knows whose bytes there are."""
        for file in files:
            self.target(file.filename)
        with self._lock:
            new = [file for file in files if not self._entry(file)]
            for file in new:
                self._new_entry(file)
        if new:
            self.save()

    def open(self, file: FileSpec) -> Partial:
        """The file's bytes so far. Close what is returned."""
        entry = self._entry(file)
        if entry is None:
            self.prepare([file])
            entry = self._state.files[file.filename]
        return Partial(self.folder / entry.part, entry, self.reserve)

    def accept(self, file: FileSpec, sha256: str) -> None:
        """All bytes are there and right. The next `save` waits until they are on the disk, and remembers it."""
        with self._lock:
            entry = self._state.files[file.filename]
            entry.verified = sha256
            self._unsynced.append(self.folder / entry.part)

    def save(self) -> None:
        """What is known of the files; waits for the disk. Raises NoSpace, LocalFault."""
        with self._lock, local_faults(f"The models folder {self.models}", where=self.models):
            # Many at a time: the disk does most of its work for all of them at the first.
            for part in self._unsynced:
                fsync_file(part)
            self._unsynced.clear()
            self._state.save()

    def put_aside(self, file: FileSpec, got: str) -> DigestMismatch:
        """Keep a whole file with another digest than it should have where nothing serves it; returns the error."""
        with self._lock, local_faults(file.filename):
            part = self.folder / self._state.files.pop(file.filename).part
            suspects.put_aside(part, self.folder.parent, file, got)
            journal.forget(part)
        self.save()
        return DigestMismatch(file.filename, file.sha256, got, retry=False)

    def adopt(self, file: FileSpec, path: Path, tick: Tick = _no_tick) -> bool:
        """Use a file of this machine that should have the same digest, as another name of it, or as a copy.

        Returns whether it does have it: it is read for that. `tick` gets the bytes of each piece, and may raise.
        """
        self.target(file.filename)
        with self._lock, local_faults(file.filename):
            part = self.folder / (self._entry(file) or self._new_entry(file)).part
            draft = part.with_suffix(".adopted")
            draft.unlink(missing_ok=True)
            same = digest.second_name(path, draft, tick) and digest.of(draft, tick) == file.sha256
            if not same:
                draft.unlink(missing_ok=True)
                return False
            journal.forget(part)
            draft.replace(part)
            fsync_dir(self.folder)
        self.accept(file, file.sha256)
        self.save()
        return True

    def unpacked(self, files: Sequence[FileSpec], tick: Tick = _no_tick) -> tuple[FileSpec, ...]:
        """The files to commit: of archives their content, which is then verified. Raises BadArchive, NoSpace.

        `tick` gets the bytes of each piece and may raise. It can be done again, and begins anew then.
        """
        if not any(file.unpack for file in files):
            return tuple(files)
        folder = self.folder / "unpacked"
        with local_faults(f"The models folder {self.models}", where=self.models):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        found = unpack(files, self._part_of, folder, reserve=self.reserve, tick=tick)
        for file, path in ((item.spec, item.path) for item in found):
            self._state.files[file.filename] = FileState(
                str(path.relative_to(self.folder)),
                file.uri,
                file.sha256,
                verified=file.sha256,
                total=file.size,
                synced=[[0, file.size or 0]],
            )
        with local_faults(f"The models folder {self.models}", where=self.models):
            self._state.save()
        return (*(file for file in files if not file.unpack), *(item.spec for item in found))

    def _part_of(self, file: FileSpec) -> Path:
        if not self.is_verified(file):
            raise FileGone(f"{file.filename} was downloaded, and is not there any more.")
        return self.folder / self._state.files[file.filename].part

    def commit(
        self,
        files: Sequence[FileSpec],
        texts: Sequence[tuple[str, bytes]],
        *,
        retired: Collection[str] = (),
        keep_in: str = "",
    ) -> None:
        """Put everything in place: the files, then the texts in their order. The last text makes the model visible.

        What another install has brought meanwhile is left as it is. Raises FileGone when a file is neither verified nor
        there any more, NameTaken, UnsafeName, NoSpace or LocalFault; what was there before is then there again, and
        the bytes are kept. After it, `committed` is true until the rest is discarded.

        With `keep_in`, a folder below `.previous/`, what is replaced is kept there, and so are the `retired` files,
        which nobody needs any more.
        """
        self._places.clear()
        pending = [file for file in files if not self._is_in_place(file)]
        if missing := [file.filename for file in pending if not self.is_verified(file)]:
            raise FileGone(f"{missing[0]} was in the models folder when it was looked for, and is not there any more.")
        texts = [(name, data) for name, data in texts if not self._says(name, data)]
        names = [file.filename for file in pending] + [name for name, _ in texts]
        self._check_places(files, [name for name, _ in texts], names)
        with local_faults(f"The models folder {self.models}", where=self.models):
            sources = [self._state.files[file.filename].part for file in pending] + self._staged(texts)
            moves = [Move(a, b, f"{a}.before") for a, b in zip(sources, names, strict=True)]
            self._commit(moves, retired, keep_in)

    def bring_back(self, kept_in: str, names: Sequence[str], *, retired: Collection[str], keep_in: str) -> None:
        """Put the files back that are kept in `kept_in`, in this order, and keep in `keep_in` what is there now.

        All of them or none, as with `commit`; raises what that raises.
        """
        self._check_places([], names, names)
        with local_faults(f"The models folder {self.models}", where=self.models):
            moves = [Move(f"{kept_in}/{name}", name, f"{number}.before") for number, name in enumerate(names)]
            self._commit(moves, retired, keep_in)

    def _commit(self, moves: list[Move], retired: Collection[str], keep_in: str) -> None:
        if keep_in:
            # Whatever is there was left by a commit that nobody remembers.
            with contextlib.suppress(UnsafePath):
                shutil.rmtree(inside(self.models, keep_in), ignore_errors=True)
        self._state.moves = moves
        self._state.made = placing.folders_to_make(self.models, [move.target for move in moves])
        self._state.keeps = keeping.planned(self.folder.name, moves, retired, keep_in) if keep_in else []
        self._state.committed = not moves
        self._state.save()
        self._place()

    def discard(self) -> None:
        """Remove the job's folder with all its bytes. What cannot be removed is only logged."""
        shutil.rmtree(self.folder, onerror=_log_leftover)
        places.forget_ingest(self.models)

    def _place(self) -> None:
        try:
            placing.place(self.folder, self.models, self._state.moves, self._state.made)
            self._state.committed = True
        except (OSError, UnsafePath) as error:
            self._recover()
            if not self.committed:
                raise
            log.warning("the last move of a commit was made, but then: %s", error)
        keeping.keep(self.models, self._state.keeps)

    def _recover(self) -> None:
        """It failed, or the worker died, while files were put in place: undo that, unless it was as good as done."""
        state = self._state
        if not (state.moves or state.keeps):
            return
        state.committed = state.committed or placing.is_complete(self.folder, state.moves)
        if state.committed:
            keeping.keep(self.models, state.keeps)
        else:
            placing.take_back(self.folder, self.models, state.moves, state.made)
        state.moves, state.made, state.keeps = [], [], []
        state.save()

    def _forget_unsynced(self) -> None:
        """After a loss of power only the bytes that were waited for are surely what was written."""
        if self._state.survived_power():
            return
        for entry in self._state.files.values():
            part = self.folder / entry.part
            if not entry.verified:
                trust_only(part, entry)
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
        own = set(texts)
        for name in moving:
            place = places.of_text(self.models, name) if name in own else self.target(name)
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
            journal.forget(self.folder / entry.part)
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
            if digest.of(target, tick) != file.sha256:
                return False
            (entry or self._new_entry(file)).here = stamp
            self.save()
        return True


def _refuse_link(folder: Path) -> None:
    """Whoever may write into the models folder must not choose where else the console writes and deletes."""
    if folder.is_symlink():
        raise LocalFault(f"{folder} is a link to somewhere else.", action="Remove the link, then try again.")


def _log_leftover(_function: object, path: str, error: object) -> None:
    log.warning("could not remove %s: %s", path, error)
