"""Memory for bytes on their way: blocks that lie in memory as they will in the file, used again and again."""

import mmap
from threading import Lock

#: Bytes of a block. Blocks begin in a file at multiples of this.
SIZE = 1 << 20


class Block:
    """Bytes of one block of a file, `start` to `end`, at their places in `memory`. It has one owner at a time."""

    def __init__(self) -> None:
        # Of its own pages: the disk can take the bytes from where they are.
        self._map = mmap.mmap(-1, SIZE)
        self.memory = memoryview(self._map)
        self.start = self.end = 0

    def begin(self, offset: int) -> None:
        self.start = self.end = offset

    @property
    def room(self) -> memoryview:
        """Where the next bytes go, up to the end of the block."""
        return self.memory[self.end - self.base :]

    @property
    def base(self) -> int:
        return self.start - self.start % SIZE

    @property
    def is_full(self) -> bool:
        return self.end - self.base == SIZE

    def bytes(self, start: int, end: int) -> memoryview:
        return self.memory[start - self.base : end - self.base]


class Blocks:
    """Gives blocks out, and takes them back from whoever was the last to read them. For any number of threads."""

    def __init__(self) -> None:
        self._free: list[Block] = []
        self._lock = Lock()

    def take(self) -> Block:
        with self._lock:
            return self._free.pop() if self._free else Block()

    def give_back(self, block: Block) -> None:
        with self._lock:
            self._free.append(block)
