"""Downloading the files of a model into an ingest, side by side, as fast as the wire and the source allow."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gallery.downloads.crew import Crew
from gallery.downloads.errors import NoSpace
from gallery.downloads.pace import Pace, Unlimited
from gallery.downloads.patience import Patience
from gallery.downloads.plan import check_space
from gallery.downloads.progress import FileProgress, Meter, Snapshot
from gallery.downloads.sizes import sizes
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Transport

#: Seconds between two reports.
_TELL_EVERY = 0.2
_UNLIMITED, _PATIENT = Unlimited(), Patience()


def _nowhere(_sha256: str) -> Path | None:
    """For those who do not keep an account of what is in the models folder."""
    return None


def download(
    files: Sequence[FileSpec],
    ingest: Ingest,
    *,
    transport: Transport,
    stop: Callable[[], None],
    on_progress: Callable[[Snapshot], None],
    pace: Pace = _UNLIMITED,
    known: Callable[[str], Path | None] = _nowhere,
    clock: Callable[[], float] = time.monotonic,
    patience: Patience = _PATIENT,
) -> None:
    """Bring every file into the ingest, whole, on the disk and with the right digest. Raises DownloadError.

    Bytes of an earlier try are used; files that are in the models folder already are left alone, also under another
    name: `known` says by a digest where one is. `stop` is called several times a second, by the caller's thread, and
    raises to end the download: the bytes are kept. `on_progress` is called up to five times a second, and at the end.
    `pace` is asked all the time how many connections and bytes there may be.
    """
    _Download(files, ingest, transport, stop, on_progress, known=known, clock=clock).run(pace, patience)


@dataclass
class _File:
    spec: FileSpec
    done: int = 0
    total: int | None = None
    status: str = "waiting"


class _Download:
    def __init__(
        self,
        files: Sequence[FileSpec],
        ingest: Ingest,
        transport: Transport,
        stop: Callable[[], None],
        on_progress: Callable[[Snapshot], None],
        *,
        known: Callable[[str], Path | None],
        clock: Callable[[], float],
    ) -> None:
        self._files = [_File(spec) for spec in files]
        self._ingest, self._transport = ingest, transport
        self._stop, self._on_progress, self._known = stop, on_progress, known
        self._clock, self._meter = clock, Meter(clock)
        self._shown = 0
        self._told_at = float("-inf")

    def run(self, pace: Pace, patience: Patience) -> None:
        self._look(pace)
        wanted = [file for file in self._files if file.status == "waiting"]
        self._check_space(wanted)
        self._ingest.prepare([file.spec for file in wanted])
        if wanted:
            self._fetch(wanted, pace, patience)
        self._ingest.save()
        self._tell()

    # --- what is here already

    def _look(self, pace: Pace) -> None:
        """Find out which files are here already, and how large the others are."""
        for file in self._files:
            self._ingest.target(file.spec.filename)
            if self._ingest.is_verified(file.spec):
                self._is_whole(file, "verified", self._ingest.size_of(file.spec))
        # A file with a digest is compared by that, and asked for only when it is not here.
        self._compare([file for file in self._files if file.status == "waiting" and file.spec.sha256])
        waiting = [file for file in self._files if file.status == "waiting"]
        self._measure(waiting, pace)
        self._compare([file for file in waiting if not file.spec.sha256])
        for file in waiting:
            file.done = self._ingest.size_of(file.spec) if file.status == "waiting" else file.done
        self._tell()

    def _measure(self, files: Sequence[_File], pace: Pace) -> None:
        for file in files:
            file.total = file.spec.size
        unknown = [file for file in files if file.total is None]
        uris = [file.spec.uri for file in unknown]
        for file, size in zip(unknown, sizes(uris, self._transport, pace.connections(), self._tick), strict=True):
            file.total = size

    def _compare(self, files: Sequence[_File]) -> None:
        for file in files:
            self._has(file, "checking")
            if self._ingest.is_here(file.spec, file.total, self._tick):
                self._is_whole(file, "already here", self._ingest.target(file.spec.filename).stat().st_size)
            elif self._is_elsewhere(file.spec):
                self._is_whole(file, "already here", self._ingest.size_of(file.spec))
            else:
                self._has(file, "waiting")

    def _is_elsewhere(self, spec: FileSpec) -> bool:
        path = self._known(spec.sha256) if spec.sha256 else None
        return path is not None and self._ingest.adopt(spec, path, self._tick)

    def _is_whole(self, file: _File, status: str, size: int) -> None:
        file.done = file.total = size
        self._has(file, status)

    def _has(self, file: _File, status: str) -> None:
        file.status = status
        self._tick()

    # --- what is not

    def _check_space(self, wanted: Sequence[_File]) -> None:
        """Raises NoSpace with what all of them need together."""
        needs = [self._ingest.room_for(file.spec, file.total) if file.total else None for file in wanted]
        check_space([(self._ingest.models, need) for need in needs], self._ingest.reserve)

    def _fetch(self, wanted: Sequence[_File], pace: Pace, patience: Patience) -> None:
        specs = [file.spec for file in wanted]
        crew = Crew(specs, self._ingest, self._transport, pace=pace, patience=patience, meter=self._meter)
        try:
            with crew:
                while crew.is_at_work():
                    self._look_at(wanted, crew)
                    self._tick()
                    crew.wait()
                self._look_at(wanted, crew)
        except NoSpace:
            self._look_at(wanted, crew)
            # What all of them need is more than what the first one lacked.
            self._check_space(wanted)
            raise

    def _look_at(self, wanted: Sequence[_File], crew: Crew) -> None:
        """How far the crew is with each file."""
        for file, fetch in zip(wanted, crew.fetches, strict=True):
            file.status = fetch.status
            if fetch.is_begun:
                file.done, file.total = fetch.done, fetch.total if fetch.total is not None else file.total

    # --- how far it is

    def _tick(self, _count: int = 0) -> None:
        self._stop()
        if self._clock() - self._told_at >= _TELL_EVERY:
            self._tell()

    def _tell(self) -> None:
        self._stop()
        self._told_at = self._clock()
        self._on_progress(self._snapshot())

    def _snapshot(self) -> Snapshot:
        totals = [file.total for file in self._files]
        total = None if None in totals else sum(size or 0 for size in totals)
        self._shown = max(self._shown, sum(file.done for file in self._files))
        speed = self._meter.speed()
        left = None if total is None else max(0, total - self._shown)
        rows = tuple(FileProgress(f.spec.filename, f.done, f.total, f.status) for f in self._files)
        meter = self._meter
        return Snapshot(self._shown, total, speed, meter.eta(left), meter.idle, rows, meter.total)
