"""Reading the values of a GGUF header one after the other, by a few pieces of the file.

The file was written by somebody else: every count and length in it is only believed as far as bytes for it come.
"""

import struct
from collections.abc import Callable
from typing import ClassVar

#: Gives the bytes of a file: (offset, length) -> at most so many; fewer only at the end of the file.
Read = Callable[[int, int], bytes]
Value = int | float | bool | str | list[int | float | bool]

#: The first piece that is asked for; each one after it is twice as large, up to the largest. Bytes.
FIRST_PIECE = 64 << 10
LARGEST_PIECE = 2 << 20

_MAX_KEYS = 10_000
_MAX_KEY_BYTES = 1 << 16
_MAX_TENSORS = 200_000
_MAX_DIMENSIONS = 8
#: No key stands behind this; a length that leads there is nonsense.
_MAX_POSITION = 1 << 32
#: A longer text is passed over; of a list so many numbers are kept, which is more than any model has layers.
_KEPT_TEXT = 4096
KEPT_NUMBERS = 4096
_NEST = 4
#: Items of lists that have to be passed over one by one, all together: several times as many as any vocabulary has.
_MAX_ITEMS = 3_000_000

_STRING, ARRAY, _BOOL = 8, 9, 7
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "B", 10: "Q", 11: "q", 12: "d"}
_SIZES = {kind: struct.calcsize(f"<{code}") for kind, code in _FORMATS.items()}


class GgufError(Exception):
    """A file whose header says nothing that can be used. A retry does not help."""

    retry: ClassVar[bool] = False
    action: ClassVar[str] = "Check that the address leads to a model in GGUF format."


class NotGguf(GgufError):
    """It begins like another kind of file."""


class Malformed(GgufError):
    """It ends too early, or says what no such file can mean."""


class OutOfBudget(Exception):
    """More would have to be read than is allowed."""


class Reader:
    """Goes forward through the file; only the piece it is in is in memory."""

    def __init__(self, read: Read, budget: int) -> None:
        self._read, self._left = read, budget
        self._piece, self._start, self._at = b"", 0, 0
        self._step = FIRST_PIECE
        self._order = "<"
        self._items = 0
        self.version = 0

    def take(self, length: int) -> bytes:
        """The next bytes. Raises Malformed when the file ends before, OutOfBudget when that is more than allowed."""
        if self._at - self._start + length > len(self._piece):
            self._fetch(length)
        begin = self._at - self._start
        self._at += length
        return self._piece[begin : begin + length]

    def skip(self, length: int) -> None:
        """Pass over bytes without reading those that are not here."""
        self._at += length
        if self._at > _MAX_POSITION:
            raise Malformed("The header of this GGUF file names a length that cannot be right.")

    def find_order(self) -> None:
        """The version, and by it whether the numbers are written with the large end first."""
        raw = self.take(4)
        little, big = struct.unpack("<I", raw)[0], struct.unpack(">I", raw)[0]
        self._order, self.version = ("<", little) if little < 1 << 16 else (">", big)
        if self.version not in {1, 2, 3}:
            raise Malformed(f"This GGUF file has version {self.version}; versions 1 to 3 are known.")

    def counts(self) -> tuple[int, int]:
        """Of tensors, and of keys."""
        tensors, keys = self.size(), self.size()
        if keys > _MAX_KEYS or tensors > _MAX_TENSORS:
            raise Malformed(f"The header of this GGUF file cannot be right: {keys:,} keys, {tensors:,} tensors.")
        return tensors, keys

    def unsigned(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little" if self._order == "<" else "big")

    def size(self) -> int:
        """A count or a length: four bytes in the first version, eight since."""
        return self.unsigned(4 if self.version == 1 else 8)

    def key(self) -> str:
        length = self.size()
        if length > _MAX_KEY_BYTES:
            raise Malformed(f"The header of this GGUF file cannot be right: a key of {length:,} bytes.")
        return self.take(length).decode("utf-8", "replace")

    def scalar(self, kind: int) -> Value:
        """A text that is too long to keep is empty."""
        if kind == _STRING:
            length = self.size()
            if length > _KEPT_TEXT:
                self.skip(length)
                return ""
            return self.take(length).decode("utf-8", "replace")
        if kind not in _FORMATS:
            raise Malformed(f"The header of this GGUF file has a value of an unknown kind, {kind}.")
        value: int | float = struct.unpack(self._order + _FORMATS[kind], self.take(_SIZES[kind]))[0]
        return bool(value) if kind == _BOOL else value

    def length_of_array(self) -> int:
        """Of the array whose kind comes next; nothing else of it is read. 0 when it is none."""
        if self.unsigned(4) != ARRAY:
            return 0
        self.unsigned(4)
        return self.size()

    def array(self, depth: int = _NEST) -> tuple[int, list[int | float | bool] | None]:
        """Its length, and its numbers when it is a short list of them; everything else is passed over."""
        kind, length = self.unsigned(4), self.size()
        if kind in _SIZES:
            if length <= KEPT_NUMBERS:
                raw = self.take(length * _SIZES[kind])
                return length, list(struct.unpack(f"{self._order}{length}{_FORMATS[kind]}", raw))
            self.skip(length * _SIZES[kind])
        elif kind == _STRING:
            for _ in self._one_by_one(length):
                self.skip(self.size())
        elif kind == ARRAY and depth:
            for _ in self._one_by_one(length):
                self.array(depth - 1)
        else:
            raise Malformed(f"The header of this GGUF file has a list of an unknown kind, {kind}, or lists in lists.")
        return length, None

    def _one_by_one(self, length: int) -> range:
        self._items += length
        if self._items > _MAX_ITEMS:
            raise Malformed(f"The header of this GGUF file cannot be right: lists of {self._items:,} items.")
        return range(length)

    def count_parameters(self, tensors: int) -> int:
        """Numbers in all tensors, by the table of their shapes."""
        total = 0
        for _ in range(tensors):
            self.key()
            dimensions = self.unsigned(4)
            if dimensions > _MAX_DIMENSIONS:
                raise Malformed(f"The header of this GGUF file cannot be right: a tensor of {dimensions} dimensions.")
            count = 1
            for _ in range(dimensions):
                count *= self.size()
            total += count
            self.skip(12)
        return total

    def _fetch(self, length: int) -> None:
        """Make the piece the one that begins where we are."""
        wanted = max(length, self._step)
        if length > self._left:
            raise OutOfBudget
        piece = self._read(self._at, min(wanted, self._left))
        self._left -= min(wanted, self._left)
        self._step = min(self._step * 2, LARGEST_PIECE)
        self._piece, self._start = piece, self._at
        if len(piece) < length:
            raise Malformed("This GGUF file ends in the middle of its header.")
