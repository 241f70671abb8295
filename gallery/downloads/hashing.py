"""The digest of a file on its way: of as many of its first bytes as are here, so that little is left at the end.

A block that is next in order is hashed from the memory it came in; what came out of order, or in an earlier run, is
read back from the disk.
"""

from collections.abc import Callable
from threading import Condition, Event, Thread

from gallery.downloads import digest
from gallery.downloads.blocks import SIZE, Block, Blocks
from gallery.downloads.errors import DownloadError
from gallery.downloads.partial import Partial

#: Blocks that one file may keep in memory for their turn.
_MOST_HELD = 24
#: Files up to this size are hashed by whoever brought their last byte. Bytes.
SMALL = 4 << 20
_WAIT = 0.25


class PrefixHasher:
    """`over` ends the work early. `on_done` is called once all bytes are hashed, or could not be read."""

    def __init__(
        self, partial: Partial, blocks: Blocks, over: Event, on_done: Callable[[str, DownloadError | None], None]
    ) -> None:
        self._partial, self._blocks, self._over, self._on_done = partial, blocks, over, on_done
        self._hasher = digest.new()
        self._held: dict[int, Block] = {}
        self._change = Condition()
        self._scratch: Block | None = None
        self._begun = False
        self.position = 0

    def start(self) -> None:
        """Hash in a thread of its own from now on; harmless when it does already."""
        if not self._begun:
            self._begun = True
            Thread(target=self._run, name="hash", daemon=True).start()

    def finish(self) -> None:
        """Hash what is here of a small file, unless a thread does so."""
        if not self._begun:
            self._begun = True
            self._run()

    def offer(self, block: Block) -> None:
        """A block that was written; who offers it gives it away. Waits while the network is far ahead of hashing."""
        with self._change:
            while not self._takes(block):
                self._change.wait(_WAIT)
                if self._is_over:
                    self._blocks.give_back(block)
                    return
        self._change_told()

    @property
    def _is_over(self) -> bool:
        return self._over.is_set() or self._partial.closed

    def _change_told(self) -> None:
        with self._change:
            self._change.notify_all()

    def _takes(self, block: Block) -> bool:
        if block.end <= self.position or block.base in self._held:
            self._blocks.give_back(block)
            return True
        if len(self._held) < _MOST_HELD:
            self._held[block.base] = block
            return True
        if self._begun and self.position - self.position % SIZE in self._held:
            return False
        # The next bytes are not here yet: what is furthest from its turn will be read back.
        last = max(self._held)
        if last > block.base:
            self._blocks.give_back(self._held.pop(last))
            self._held[block.base] = block
        else:
            self._blocks.give_back(block)
        return True

    def _run(self) -> None:
        failure: DownloadError | None = None
        try:
            while not self._is_done() and not self._is_over:
                if not self._advance():
                    self._partial.wait(self.position, _WAIT)
        except DownloadError as error:
            failure = error
        with self._change:
            for block in self._held.values():
                self._blocks.give_back(block)
            self._held.clear()
            self._change.notify_all()
        if failure or (self._is_done() and not self._is_over):
            self._on_done(self._hasher.hexdigest(), failure)

    def _is_done(self) -> bool:
        return self._partial.total is not None and self.position >= self._partial.total

    def _advance(self) -> bool:
        """Hash what comes next; returns whether there was anything."""
        with self._change:
            block = self._held.pop(self.position - self.position % SIZE, None)
            self._change.notify_all()
        if block is not None:
            usable = block.start <= self.position < block.end
            if usable:
                self._hasher.update(block.bytes(self.position, block.end))
                self.position = block.end
            self._blocks.give_back(block)
            return usable or self._read_back()
        return self._read_back()

    def _read_back(self) -> bool:
        end = self._partial.end_of(self.position)
        # One block at a time: the next one may be in memory.
        end = min(end, self.position - self.position % SIZE + SIZE)
        if end == self.position:
            return False
        scratch = self._scratch = self._scratch or Block()
        scratch.begin(self.position)
        view = scratch.bytes(self.position, end)
        count = self._partial.read(view, self.position)
        self._hasher.update(view[:count])
        self.position += count
        return count > 0
