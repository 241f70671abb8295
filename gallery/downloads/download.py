"""Downloading the files of a model one after the other, into an ingest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gallery.downloads.errors import Forbidden, Network, ServerFault, TooManyRequests
from gallery.downloads.partial import Partial
from gallery.downloads.plan import check_space
from gallery.downloads.progress import FileProgress, Meter, Snapshot
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Stream, Transport

#: Servers may refuse to say a size and give the file all the same.
_MAY_STILL_GIVE = (Forbidden, ServerFault, TooManyRequests)
#: A connection that brought this many bytes before it broke is followed by another at once: large files take many.
_WORTH_GOING_ON = 16 << 20
#: Seconds between two reports while nothing but the number of bytes changes.
_TELL_EVERY = 0.2


def download(
    files: Sequence[FileSpec],
    ingest: Ingest,
    *,
    transport: Transport,
    stop: Callable[[], None],
    on_progress: Callable[[Snapshot], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Bring every file into the ingest, whole and with the right digest. Raises DownloadError.

    Bytes of an earlier try are used; files that are in the models folder already are left alone. `stop` is called
    at every piece of data, or once a second without data, and raises to end the download: the bytes are kept.
    `on_progress` is called up to five times a second, and at every change.
    """
    _Download(files, ingest, transport, stop, on_progress, clock=clock).run()


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
        clock: Callable[[], float],
    ) -> None:
        self._files = [_File(spec) for spec in files]
        self._ingest, self._transport = ingest, transport
        self._stop, self._on_progress = stop, on_progress
        self._clock, self._meter = clock, Meter(clock)
        self._shown = 0
        self._told_at = float("-inf")

    def run(self) -> None:
        for file in self._files:
            self._look(file)
        wanted = [file for file in self._files if file.status == "waiting"]
        needs = [(self._ingest.models, max(0, file.total - file.done) if file.total else None) for file in wanted]
        check_space(needs, self._ingest.reserve)
        for file in wanted:
            self._fetch(file)
        self._tell()

    def _look(self, file: _File) -> None:
        """Find out whether the file is here already, and how large it is."""
        if self._ingest.is_verified(file.spec):
            self._is_whole(file, "verified", self._ingest.size_of(file.spec))
            return
        self._has(file, "checking")
        if not file.spec.sha256:
            # Without a digest, only the size can tell that a file in the models folder is the same.
            file.total = self._size(file.spec.uri)
        if self._ingest.is_here(file.spec, file.total, self._tick):
            self._is_whole(file, "already here", self._ingest.target(file.spec.filename).stat().st_size)
            return
        if file.spec.sha256:
            file.total = self._size(file.spec.uri)
        file.done = self._ingest.size_of(file.spec)
        self._has(file, "waiting")

    def _is_whole(self, file: _File, status: str, size: int) -> None:
        file.done = file.total = size
        self._has(file, status)

    def _has(self, file: _File, status: str) -> None:
        file.status = status
        self._tell()

    def _size(self, uri: str) -> int | None:
        try:
            return self._transport.size(uri)
        except _MAY_STILL_GIVE:
            return None

    def _fetch(self, file: _File) -> None:
        self._has(file, "checking")
        partial = self._ingest.open(file.spec, self._tick)
        try:
            self._has(file, "downloading")
            best = partial.size
            while not self._is_complete(partial):
                try:
                    self._receive(file, partial)
                except Network:
                    if not partial.validator or partial.size < best + _WORTH_GOING_ON:
                        raise
                    best = partial.size
            self._has(file, "verifying")
            self._ingest.verify(file.spec, partial)
        finally:
            partial.close()
        self._is_whole(file, "verified", partial.size)

    @staticmethod
    def _is_complete(partial: Partial) -> bool:
        return partial.total is not None and partial.size == partial.total

    def _receive(self, file: _File, partial: Partial) -> None:
        """One connection: to the end of the file, or of what the server gives in one answer."""
        with self._transport.open(file.spec.uri, partial.size, partial.validator) as stream:
            partial.begin(stream.offset, stream.validator, stream.total)
            file.done, file.total = partial.size, stream.total if stream.total is not None else file.total
            before = partial.size
            self._meter.connect()
            self._drain(file, partial, stream)
        if stream.total is None:
            # The end is where the server ended: nobody announced another.
            partial.end()
        elif partial.size == before and not self._is_complete(partial):
            raise Network(f"The server sent nothing of {file.spec.filename} after {before:,} bytes.")

    def _drain(self, file: _File, partial: Partial, stream: Stream) -> None:
        for piece in stream.chunks:
            if piece:
                partial.append(piece)
                self._meter.add(len(piece))
                file.done = partial.size
            self._tick()

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
        return Snapshot(self._shown, total, speed, self._meter.eta(left), self._meter.idle, rows)
