"""Which bytes of a file are here: ranges from a first byte to the one behind the last."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class Ranges:
    """Ranges that neither touch nor overlap, in order. Not safe to change from two threads."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[Range]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> "Ranges":
        return Ranges(self)

    def add(self, start: int, end: int) -> None:
        """Add the bytes from `start` up to `end`; what is there already is not counted twice."""
        if end <= start:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        merged_start = min([start, *self._starts[first : first + 1]]) if first < last else start
        merged_end = max([end, *self._ends[last - 1 : last]]) if first < last else end
        before = sum(self._ends[n] - self._starts[n] for n in range(first, last))
        self._starts[first:last] = [merged_start]
        self._ends[first:last] = [merged_end]
        self.count += merged_end - merged_start - before

    def end_of(self, start: int) -> int:
        """Where the range that holds `start` ends; `start` itself when that byte is not here."""
        place = bisect_right(self._starts, start) - 1
        return max(start, self._ends[place]) if place >= 0 else start

    def gaps(self, total: int) -> list[Range]:
        """What is missing of the first `total` bytes, in order."""
        found, at = [], 0
        for start, end in self:
            if start >= total:
                break
            if start > at:
                found.append((at, start))
            at = end
        return [*found, (at, total)] if at < total else found
