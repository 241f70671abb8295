"""The threads of a download: one a connection, as many as help, and one that sees to it that bytes reach the disk."""

import logging
import time
from collections.abc import Callable, Sequence
from threading import Condition, Event, Lock, Thread
from types import TracebackType

from gallery.downloads.blocks import Blocks
from gallery.downloads.errors import DownloadError
from gallery.downloads.fetching import Fetch, Refused
from gallery.downloads.pace import Pace
from gallery.downloads.patience import Patience
from gallery.downloads.progress import Meter
from gallery.downloads.ramp import Ramp
from gallery.downloads.sharing import Claim, part_for
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Transport

log = logging.getLogger(__name__)

#: Threads look this often for what has changed. Seconds.
_LOOK = 0.1
#: Seconds between two looks whether a limit still makes a connection wait.
_ASK_AGAIN = 0.5
#: What came is waited for to be on the disk, and noted, this often. Seconds.
_SYNC_EVERY = 2.0
#: All threads together get so long to let go. Seconds.
_LET_GO = 1.0
#: Of several files so many are fetched side by side from the beginning.
_FIRST = 4


class Crew:
    """Works while it is entered. All methods are for one thread, the caller's."""

    def __init__(
        self,
        specs: Sequence[FileSpec],
        ingest: Ingest,
        transport: Transport,
        *,
        pace: Pace,
        patience: Patience,
        meter: Meter,
    ) -> None:
        self._ingest, self._pace, self._meter = ingest, pace, meter
        self._over, self._news, self._sharing_out = Event(), Condition(), Lock()
        blocks = Blocks()
        self.fetches = [
            Fetch(spec, ingest, transport, blocks, over=self._over, patience=patience, on_end=self._ended)
            for spec in specs
        ]
        self._open = list(self.fetches)
        self._left = len(self.fetches)
        self._ramp = Ramp(pace.connections, min(_FIRST, len(specs)))
        self._threads: list[Thread] = []
        self._working = 0
        self._fault: BaseException | None = None

    def __enter__(self) -> "Crew":
        self._start(Thread(target=self._guarded, args=(self._keep_syncing,), name="sync", daemon=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._tell()
        deadline = time.monotonic() + _LET_GO
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        try:
            for fetch in self.fetches:
                fetch.close()
            self._ingest.save()
        except DownloadError as late:
            if error is None:
                raise
            log.warning("%s", late)

    def is_at_work(self) -> bool:
        """Whether something is still to come. Raises the DownloadError of the first file that failed."""
        if self._fault:
            raise self._fault
        self._open = [fetch for fetch in self._open if not fetch.is_over]
        return bool(self._open)

    def wait(self) -> None:
        """A moment, or until something has ended; meanwhile there are as many connections as help."""
        self._ramp.look(self._meter.total)
        while len(self._threads) - 1 < min(self._ramp.wanted, self._most()):
            number = len(self._threads) - 1
            name = f"connection-{number}"
            self._start(Thread(target=self._guarded, args=(self._connect, number), name=name, daemon=True))
        with self._news:
            self._news.wait_for(lambda: self._fault or not self._left, _LOOK)

    def _most(self) -> int:
        return max(1, self._pace.connections())

    def _start(self, thread: Thread) -> None:
        self._threads.append(thread)
        thread.start()

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()

    def _ended(self, failure: DownloadError | None) -> None:
        with self._news:
            self._left -= 1
            self._fault = self._fault or failure
            self._news.notify_all()

    def _guarded(self, work: Callable[..., None], *arguments: int) -> None:
        try:
            work(*arguments)
        except Exception as error:
            # The edge of a thread: the caller's thread raises it.
            self._fault = error
            self._tell()

    # --- one connection

    def _connect(self, number: int) -> None:
        while not self._over.is_set():
            job = self._next() if number < self._ramp.wanted else None
            if job is None:
                with self._news:
                    self._news.wait(_LOOK)
                continue
            self._work(*job)

    def _next(self) -> tuple[Fetch, Claim] | None:
        """What is to be fetched next: ranges that nobody has, in order; then a part of what others have before them."""
        speed = (self._meter.speed() or 0.0) / max(1, self._working)
        part = part_for(speed)
        with self._sharing_out:
            found = self._unclaimed(part if self._ramp.wanted > 1 else None) or self._stolen(part, speed)
            self._working += found is not None
            return found

    def _unclaimed(self, part: int | None) -> tuple[Fetch, Claim] | None:
        for fetch in self._open:
            if claim := fetch.claim(part):
                return fetch, claim
        return None

    def _stolen(self, part: int, speed: float) -> tuple[Fetch, Claim] | None:
        for fetch in self._open:
            if claim := fetch.steal(part, speed):
                return fetch, claim
        return None

    def _work(self, fetch: Fetch, claim: Claim) -> None:
        self._meter.connect()
        try:
            fetch.fetch(claim, self._count, lambda: self._working == 1)
        except Refused:
            self._ramp.refuse(self._working)
        finally:
            with self._sharing_out:
                self._working -= 1
            self._tell()

    def _count(self, count: int) -> int:
        """Waits for as long as the bandwidth says; returns how many bytes may be read then."""
        self._meter.add(count)
        wait = self._pace.spend(count)
        while wait > 0 and not self._over.wait(min(wait, _ASK_AGAIN)):
            # A limit that was lifted ends the wait; one that was lowered does not make this one longer.
            wait = min(wait - _ASK_AGAIN, self._pace.spend(0))
        return self._pace.piece()

    # --- the disk

    def _keep_syncing(self) -> None:
        while not self._over.wait(_SYNC_EVERY):
            synced = [fetch.sync() for fetch in self.fetches if fetch.is_begun and not fetch.verified]
            if any(synced):
                self._ingest.save()
