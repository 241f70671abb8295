"""One file that is being fetched by several connections: its claims, its bytes and its digest together."""

import time
from collections.abc import Callable
from threading import Event, RLock

from gallery.downloads.blocks import Blocks
from gallery.downloads.errors import (
    DownloadError,
    LocalFault,
    NameTaken,
    Network,
    NoSpace,
    ServerFault,
    TooManyRequests,
    UnsafeName,
)
from gallery.downloads.hashing import SMALL, PrefixHasher
from gallery.downloads.partial import Partial
from gallery.downloads.patience import Patience
from gallery.downloads.receiving import Receiver
from gallery.downloads.sharing import Claim, Shares
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Stream, Transport

#: Seconds until a connection that a busy server refused is asked for again.
_AFTER_REFUSAL = 0.2
#: No other source helps with these.
_OUR_OWN = (LocalFault, NameTaken, NoSpace, UnsafeName)


class Refused(Exception):
    """The server has enough to do with the connections that are there."""


class Fetch:
    """The work on one file. `failure` is why it ended early, `verified` that it ended well.

    `over` ends all of it; `on_end` is told once of its end, by whatever thread found that.
    """

    def __init__(
        self,
        spec: FileSpec,
        ingest: Ingest,
        transport: Transport,
        blocks: Blocks,
        *,
        over: Event,
        patience: Patience,
        on_end: Callable[[DownloadError | None], None],
    ) -> None:
        self.spec = spec
        self._ingest, self._transport, self._blocks = ingest, transport, blocks
        self._over, self._patience, self._on_end = over, patience, on_end
        self._lock = RLock()
        self._shares = Shares()
        self._partial: Partial | None = None
        self._hasher: PrefixHasher | None = None
        self._source = 0
        self._changes = self._mismatches = self._failures = 0
        self._not_before = 0.0
        self.ranges = True
        self.verified = False
        self.failure: DownloadError | None = None

    # --- what others see

    @property
    def is_over(self) -> bool:
        return self.verified or self.failure is not None

    @property
    def is_begun(self) -> bool:
        return self._partial is not None

    @property
    def done(self) -> int:
        return self._partial.count if self._partial else 0

    @property
    def total(self) -> int | None:
        return self._partial.total if self._partial else None

    @property
    def status(self) -> str:
        if self.verified:
            return "verified"
        if self._partial is None:
            return "waiting"
        return "verifying" if self._partial.is_complete else "downloading"

    def claim(self, part: int | None) -> Claim | None:
        """A range to fetch, of `part` bytes or all there is; None when there is none now."""
        with self._lock:
            if self.is_over or time.monotonic() < self._not_before:
                return None
            partial = self._opened()
            if partial.is_complete:
                return None
            if self._shares.active and not (self.ranges and partial.validator):
                return None
            if partial.total is None:
                return None if self._shares.active else self._shares.take_whole()
            if not self._shares.active and not self._shares.gaps:
                self._shares.gaps = partial.gaps()
            return self._shares.take(part if self.ranges else None)

    def steal(self, part: int, speed: float) -> Claim | None:
        """A range that a slower connection would fetch later."""
        with self._lock:
            if self.is_over or not self.ranges or self._partial is None or not self._partial.validator:
                return None
            return self._shares.steal(part, speed)

    @property
    def active(self) -> int:
        return len(self._shares.active)

    def sync(self) -> bool:
        partial = self._partial
        return bool(partial and partial.sync())

    def close(self) -> None:
        """Everything that came is kept."""
        with self._lock:
            if self._partial:
                self._partial.sync()
                self._partial.close()

    # --- one connection

    def fetch(self, claim: Claim, count: Callable[[int], int], alone: Callable[[], bool]) -> None:
        """Fetch the claim, or as much of it as comes. `count` is told the bytes of each piece, may wait, and
        says how many may be read next.

        What is missing after a failure is claimed again, later, or the file's `failure` is set. Raises Refused when the
        server does not want this connection, and it is not `alone`.
        """
        partial, began = self._partial, claim.at
        try:
            if partial is not None:
                self._receive(claim, partial, count)
        except DownloadError as error:
            self._failed(claim, error, claim.at - began, alone())
        finally:
            with self._lock:
                self._shares.give_back(claim)
        self._look_whether_done()

    def _receive(self, claim: Claim, partial: Partial, count: Callable[[int], int]) -> None:
        end = claim.end if claim.end != partial.total else None
        with self._transport.open(self.spec.uri, claim.at, partial.validator, end, self._source) as stream:
            receiver = self._accept(claim, partial, stream)
            if receiver is not None:
                receiver.receive(claim, stream, count)

    def _accept(self, claim: Claim, partial: Partial, stream: Stream) -> Receiver | None:
        """Who takes the stream: the file as it is known, or another version of it; None when it is not wanted."""
        with self._lock:
            if partial is not self._partial or self._over.is_set():
                return None
            same = stream.validator == partial.validator and (stream.total or partial.total) == partial.total
            fresh = not partial.count and partial.total is None
            if stream.offset != claim.at and same and stream.validator:
                # It gives the whole, whatever is asked for: one connection, and what is here is written once more.
                self.ranges = False
                if len(self._shares.active) > 1:
                    return None
                claim.at, claim.end = stream.offset, stream.total
                self._shares.gaps = []
            elif not fresh and (stream.offset != claim.at or not same):
                partial = self._begin_anew(claim)
                if stream.offset:
                    # A piece out of that other version: it is asked for from its beginning.
                    return None
            partial.begin(stream.validator, stream.total)
            if claim.end is None:
                claim.end = stream.total
            if partial.total is None or partial.total > SMALL:
                self._hashing.start()
            return Receiver(partial, self._hashing, self._blocks, self._over, self.spec.filename)

    def _begin_anew(self, claim: Claim) -> Partial:
        self._changes += 1
        if self._changes > 1:
            raise Network(f"The server gives another {self.spec.filename} each time it is asked.")
        self._forget()
        claim.at, claim.end = 0, None
        partial = self._opened()
        self._shares.active.append(claim)
        return partial

    # --- the end

    def _look_whether_done(self) -> None:
        with self._lock:
            partial = self._partial
            if partial is None or partial.closed or self.is_over or not partial.is_complete:
                return
            hasher = self._hashing
        if (partial.total or 0) > SMALL:
            hasher.start()
        else:
            hasher.finish()

    def _hashed(self, partial: Partial, got: str, failure: DownloadError | None) -> None:
        """All bytes were read for their digest, in whatever thread that was."""
        if (partial.total or 0) > SMALL:
            try:
                # Not while others wait to ask this file for work. Of small files many are waited for together.
                partial.sync()
            except DownloadError as error:
                failure = failure or error
        with self._lock:
            if partial is not self._partial or self.is_over:
                return
            try:
                if failure:
                    raise failure
                if self.spec.sha256 and got != self.spec.sha256:
                    self._mismatch(partial, got)
                    return
                partial.close()
                self._ingest.accept(self.spec, got)
            except DownloadError as error:
                self._fail(error)
                return
            self.verified = True
            self._on_end(None)

    def _mismatch(self, partial: Partial, got: str) -> None:
        """Keep the bytes aside, and try another source, or once more what may have been put together wrongly."""
        pieces = partial.pieces
        partial.close()
        error = self._ingest.put_aside(self.spec, got)
        self._mismatches += 1
        if self._has_other():
            self._turn_to_other()
        elif pieces == 1 or self._mismatches > 1:
            raise error
        self._start_over()

    def _failed(self, claim: Claim, error: DownloadError, progress: int, alone: bool) -> None:
        with self._lock:
            if claim not in self._shares.active or self._over.is_set():
                return
            if not alone and error.retry and isinstance(error, ServerFault | TooManyRequests):
                self._not_before = time.monotonic() + _AFTER_REFUSAL
                raise Refused
            if progress >= self._patience.worth and error.retry:
                self._failures = 0
                return
            self._failures += 1
            wait = self._patience.wait_after(error, self._failures)
            if wait is not None:
                self._not_before = time.monotonic() + wait
            elif self._has_other() and not isinstance(error, _OUR_OWN):
                self._turn_to_other()
            else:
                self._fail(error)

    def _fail(self, error: DownloadError) -> None:
        """What a late connection finds is nothing any more to a file that is over."""
        if not self.is_over:
            self.failure = error
            self._on_end(error)

    def _has_other(self) -> bool:
        return self._source < self._transport.others(self.spec.uri)

    def _turn_to_other(self) -> None:
        self._source += 1
        self._failures = self._changes = 0

    # --- bytes and digest

    def _opened(self) -> Partial:
        if self._partial is None:
            self._partial = partial = self._ingest.open(self.spec)
            self._hasher = PrefixHasher(
                partial, self._blocks, self._over, lambda got, failure: self._hashed(partial, got, failure)
            )
            self._shares = Shares(partial.gaps())
            if partial.count > SMALL or partial.is_complete:
                self._hasher.start()
        return self._partial

    @property
    def _hashing(self) -> PrefixHasher:
        if self._hasher is None:
            raise RuntimeError("the file was not opened")
        return self._hasher

    def _forget(self) -> None:
        """Another version is coming: threads that still hold the old one write into a file without a name."""
        if self._partial:
            self._partial.give_up()
        self._start_over()

    def _start_over(self) -> None:
        self._partial = self._hasher = None
        self._shares = Shares()
