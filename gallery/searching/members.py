"""Sets of entries by their place: bit n of a whole number is entry n. Small sets are lists of places instead.

A hundred thousand entries are 12.5 kB a set, and how many two sets share is counted in some microseconds.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappush, heapreplace
from itertools import compress
from typing import Literal, TypeAlias

PLACES: Literal["I"] = "I"
#: A set with fewer than one entry in so many is kept as a list: it is smaller, and as quickly counted.
_SPARSE = 256

_DIGITS = bytes.maketrans(b"\x00\x01", b"01")
_FLAGS = bytes.maketrans(b"01", b"\x00\x01")

#: A bitmap, or places in ascending order.
Members: TypeAlias = "int | array[int]"


def bitmap(flags: bytes) -> int:
    """From one byte an entry, 0 or 1."""
    return int(flags.translate(_DIGITS)[::-1], 2) if flags else 0


def flags(members: int, count: int) -> bytes:
    """One byte an entry, 0 or 1, of the first `count`."""
    return f"{members:0{count}b}"[::-1].encode().translate(_FLAGS) if count else b""


def places(members: int, count: int) -> Iterator[int]:
    """The places in a bitmap, in ascending order."""
    return compress(range(count), flags(members, count))


def from_places(found: Iterable[int], count: int) -> int:
    marked = bytearray(count)
    for place in found:
        marked[place] = 1
    return bitmap(bytes(marked))


def packed(found: "array[int]", count: int) -> Members:
    """The smaller form of a set."""
    return found if len(found) * _SPARSE < count else from_places(found, count)


def as_bitmap(members: Members, count: int) -> int:
    return members if isinstance(members, int) else from_places(members, count)


def moved(members: Members, by: int) -> Members:
    """The same set with `by` entries before it."""
    return members << by if isinstance(members, int) else shifted(members, by)


def shifted(found: "array[int]", by: int) -> "array[int]":
    return array(PLACES, map(by.__add__, found)) if by else found


def joined(left: Members, right: Members, count: int) -> Members:
    if isinstance(left, array) and isinstance(right, array):
        return left + right
    return as_bitmap(left, count) | as_bitmap(right, count)


def size(members: Members) -> int:
    return members.bit_count() if isinstance(members, int) else len(members)


class Postings:
    """The values of one facet, and the entries that have each."""

    def __init__(self, values: dict[str, Members], count: int) -> None:
        sizes = {value: size(members) for value, members in values.items()}
        self._values = dict(sorted(values.items(), key=lambda pair: (-sizes[pair[0]], pair[0])))
        self._sizes = sizes
        self._count = count

    def having(self, value: str) -> int:
        """The entries with the value, as a bitmap."""
        return as_bitmap(self._values.get(value, 0), self._count)

    def most_frequent(self, selection: int, limit: int, always: Sequence[str] = ()) -> list[tuple[str, int]]:
        """(value, count) in a selection: the `limit` most frequent, and those of `always`, which may be none."""
        marked = flags(selection, self._count)
        enough = limit + len(always)
        best: list[int] = []
        found = []
        for value, members in self._values.items():
            if len(best) == enough and self._sizes[value] < best[0]:
                break
            if number := _shared(members, selection, marked):
                found.append((value, number))
                _keep(best, number, enough)
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        return self._asked_for(selection, marked, always) + [pair for pair in found if pair[0] not in always][:limit]

    def _asked_for(self, selection: int, marked: bytes, values: Sequence[str]) -> list[tuple[str, int]]:
        return [(value, _shared(self._values.get(value, 0), selection, marked)) for value in values]


def _shared(members: Members, selection: int, marked: bytes) -> int:
    if isinstance(members, int):
        return (members & selection).bit_count()
    return sum(map(marked.__getitem__, members))


def _keep(best: list[int], number: int, limit: int) -> None:
    if len(best) < limit:
        heappush(best, number)
    elif best and number > best[0]:
        heapreplace(best, number)
