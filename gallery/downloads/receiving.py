"""One connection's bytes: from the stream into blocks, from the blocks to the disk, and on to the digest."""

import time
from collections.abc import Callable
from threading import Event

from gallery.downloads.blocks import Block, Blocks
from gallery.downloads.errors import Network
from gallery.downloads.hashing import PrefixHasher
from gallery.downloads.partial import Partial
from gallery.downloads.sharing import Claim
from gallery.downloads.transport import Stream

#: Bytes in a block that is not full are written after so long. What a worker that is killed has not written is fetched
#: again: of eight connections, at any speed, that is less than one part. Seconds.
_FLUSH = 0.1


class Receiver:
    """Receives into one file, for as long as that is the file that is wanted. `over` ends it early."""

    def __init__(self, partial: Partial, hasher: PrefixHasher, blocks: Blocks, over: Event, name: str) -> None:
        self._partial, self._hasher, self._blocks = partial, hasher, blocks
        self._over, self._name = over, name
        self._written = 0

    def receive(self, claim: Claim, stream: Stream, count: Callable[[int], int]) -> None:
        """What the stream gives of the claim; `count` is told the bytes of each piece, and says how many may
        be read next. Raises DownloadError.

        Also when it ends early, what came is written.
        """
        block, most = self._begun(claim), count(0)
        flushed = time.monotonic()
        try:
            while not claim.is_done and not self._over.is_set() and not self._partial.closed:
                got = self._next(claim, block, stream, most)
                if got == 0:
                    self._ended(claim, stream)
                    break
                now = time.monotonic()
                if block.is_full or claim.is_done:
                    self._write(block)
                    self._hasher.offer(block)
                    block, flushed = self._begun(claim), now
                elif now - flushed > _FLUSH:
                    self._write(block)
                    flushed = now
                if got:
                    most = count(got)
        finally:
            self._write(block)
            self._blocks.give_back(block)

    def _begun(self, claim: Claim) -> Block:
        block = self._blocks.take()
        block.begin(claim.at)
        self._written = claim.at
        return block

    @staticmethod
    def _next(claim: Claim, block: Block, stream: Stream, most: int) -> int | None:
        room = block.room[: most if claim.end is None else max(1, min(most, claim.end - claim.at))]
        got = stream.receive(room)
        block.end += got or 0
        claim.at += got or 0
        return got

    def _write(self, block: Block) -> None:
        if self._written < block.end:
            start, self._written = self._written, block.end
            self._partial.write(block.bytes(start, block.end), start)

    def _ended(self, claim: Claim, stream: Stream) -> None:
        if claim.end is None:
            # The end is where the server ended: nobody announced another.
            claim.end = claim.at
            self._partial.end(claim.at)
        elif stream.end is not None and claim.at < stream.end:
            raise Network(f"{self._name} broke off after {claim.at:,} of {stream.end:,} bytes.")
        elif claim.at <= stream.offset:
            raise Network(f"The server sent nothing of {self._name} after {claim.at:,} bytes.")
