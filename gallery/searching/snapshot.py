"""All entries of the galleries that are shown, by place: which are in a facet, and in what order.

A web process holds the latest one: 1 MB for 1,700 entries, about 20 MB for 100,000. It is made anew when a gallery was
read again, from what the refresh left in the database.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress, islice, pairwise
from operator import sub
from threading import Lock
from typing import Any

from gallery.installed import Installed
from gallery.models import Entry, Gallery, SearchPart
from gallery.searching import index
from gallery.searching.members import (
    PLACES,
    Members,
    Postings,
    bitmap,
    flags,
    from_places,
    joined,
    moved,
    places,
    shifted,
)
from gallery.searching.part import FIELDS, NO_SIZE, Part, decoded
from gallery.searching.query import Phrase, Query, compact
from gallery.searching.spelling import Vocabulary
from localai_admin.lib.recent import Recent

#: Searches and phrases whose answers are kept: of 100,000 entries a phrase takes 13 kB, a search some more.
_SEARCHES, _PHRASES = 32, 128
#: Of so many entries the compact names are kept, too: a quarter of a megabyte.
_FEW = 3000
NOT_SHOWN = -1


@dataclass(frozen=True)
class Matches:
    """What some words match, as a bitmap, and what comes first of it: `best` in its order, then what is in `named`.

    Of either more may be said than matches. The rest is in the galleries' order, as is `named` itself.
    """

    members: int
    best: Sequence[int] = ()
    named: int = 0


class Snapshot:
    """Places are from 0, gallery by gallery in their order, each in its own order."""

    def __init__(self, galleries: Sequence[tuple[Gallery, Part]]) -> None:
        self.pks, self.sizes, self.names = array("q"), array("q"), list[str]()
        self._by_compact: list[array[int]] = []
        values: dict[str, dict[str, Members]] = {field: {} for field in (*FIELDS, "gallery")}
        for gallery, part in galleries:
            self._add(gallery, part, values)
        self.count = len(self.pks)
        self._lowest = min(self.pks, default=0)
        self._width = max(self.pks, default=0) - self._lowest + 1
        self.everything = (1 << self.count) - 1
        self.postings = {field: Postings(found, self.count) for field, found in values.items()}
        self.galleries = [gallery.pk for gallery, _ in galleries]
        self._sizes_of_galleries = [(gallery.name, len(part.pks)) for gallery, part in galleries]
        self.searches: Recent[Query, Matches] = Recent(_SEARCHES)
        self.phrases: Recent[tuple[str, Phrase], int] = Recent(_PHRASES)

    def _add(self, gallery: Gallery, part: Part, values: dict[str, dict[str, Members]]) -> None:
        before, count = len(self.pks), len(part.pks)
        for field, found in part.fields.items():
            for value, members in found.items():
                here = moved(members, before)
                known = values[field].get(value)
                values[field][value] = here if known is None else joined(known, here, before + count)
        values["gallery"][gallery.name] = ((1 << count) - 1) << before
        self.pks += part.pks
        self.sizes += part.sizes
        self.names += part.names
        self._by_compact.append(shifted(part.by_compact, before))

    def with_pks(self, pks: Sequence[int]) -> int:
        """The places of the keys as a bitmap; keys of galleries that are not shown are none."""
        # The quickest way for few keys, for keys that lie far apart, and for many in a row.
        if len(pks) * 32 < self.count:
            return from_places((place for place in map(self.place, pks) if place != NOT_SHOWN), self.count)
        if self._width > 8 * self.count:
            return bitmap(bytes(map(set(pks).__contains__, self.pks)))
        lowest, width, marked = self._lowest, self._width, bytearray(self._width)
        for pk in pks:
            if 0 <= pk - lowest < width:
                marked[pk - lowest] = 1
        return bitmap(b"".join(marked[pk - lowest : pk - lowest + length] for pk, length in self._runs))

    @cached_property
    def _runs(self) -> list[tuple[int, int]]:
        """The keys in order of place, as (first, how many that go up by one)."""
        starts = [0, *(place for place, step in enumerate(map(sub, self.pks[1:], self.pks), 1) if step != 1)]
        return [(self.pks[start], end - start) for start, end in pairwise([*starts, self.count])]

    def place(self, pk: int) -> int:
        """NOT_SHOWN for an entry of another gallery."""
        ascending, at = self._by_pk
        found = bisect_left(ascending, pk)
        return at[found] if found < self.count and ascending[found] == pk else NOT_SHOWN

    @cached_property
    def _by_pk(self) -> "tuple[array[int], Sequence[int]]":
        order = array(PLACES, sorted(range(self.count), key=self.pks.__getitem__))
        return array("q", map(self.pks.__getitem__, order)), order

    def installed(self, here: Installed) -> int:
        """The entries that are installed, as a bitmap."""
        marks = bytearray()
        for gallery, count in self._sizes_of_galleries:
            names = here.names_in(gallery)
            start = len(marks)
            marks += bytes(map(names.__contains__, islice(self.names, start, start + count))) if names else bytes(count)
        return bitmap(bytes(marks))

    def page(self, matches: Matches, start: int, length: int) -> list[int]:
        """Keys of a page of what matches."""
        ordered = chain.from_iterable(self._in_order(matches))
        return [self.pks[place] for place in islice(ordered, start, start + length)]

    def _in_order(self, matches: Matches) -> Iterator[Iterator[int]]:
        marked = flags(matches.members, self.count)
        yield compress(matches.best, map(marked.__getitem__, matches.best))
        rest = matches.members & ~from_places(matches.best, self.count)
        for layer in (rest & matches.named, rest & ~matches.named):
            if layer:
                yield places(layer, self.count)

    def compact(self, place: int) -> str:
        """The name without what stands between its parts; kept where that is little."""
        return self._compact[place] if self.count <= _FEW else compact(self.names[place])

    @cached_property
    def _compact(self) -> list[str]:
        return list(map(compact, self.names))

    def beginning_with(self, start: str) -> Sequence[int]:
        """Places of the names that begin so: those that are no longer first, then the others as they stand."""
        whole, others = array(PLACES), array(PLACES)
        for order in self._by_compact:
            first = bisect_left(order, start, key=self.compact)
            longer = bisect_right(order, start, first, key=self.compact)
            end = bisect_right(order, start, longer, key=lambda place: self.compact(place)[: len(start)])
            whole += order[first:longer]
            others += order[longer:end]
        return whole + array(PLACES, sorted(others))

    @cached_property
    def by_name(self) -> "array[int]":
        return array(PLACES, sorted(range(self.count), key=self.names.__getitem__))

    @cached_property
    def by_size(self) -> "array[int]":
        """Of those whose size is said; the smallest first."""
        said = (place for place in range(self.count) if self.sizes[place] != NO_SIZE)
        return array(PLACES, sorted(said, key=self.sizes.__getitem__))

    @cached_property
    def by_size_down(self) -> "array[int]":
        """The largest first; of one size in the gallery's order."""
        return array(PLACES, sorted(self.by_size, key=lambda place: -self.sizes[place]))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Of all galleries that are shown; read when the first word is mistyped."""
        kept = dict(SearchPart.objects.filter(gallery_id__in=self.galleries).values_list("gallery_id", "words"))
        found = Vocabulary()
        for gallery_id in self.galleries:
            found |= Vocabulary.load(kept[gallery_id]) if gallery_id in kept else index.vocabulary(gallery_id)
        return found


class _Latest:
    """The one snapshot a process holds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: Any = None
        self._snapshot = Snapshot([])

    def of(self, galleries: Sequence[Gallery]) -> Snapshot:
        key = [(gallery.pk, gallery.name, index.version(gallery)) for gallery in galleries]
        unread = [pk for pk, _, version in key if not version]
        # Of entries that no refresh wrote, nothing says whether they are still the same.
        unsure = bool(unread) and Entry.objects.filter(gallery_id__in=unread).exists()
        with self._lock:
            if self._key != key or unsure:
                self._snapshot = _made(galleries)
                self._key = None if unsure else key
            return self._snapshot


def _made(galleries: Sequence[Gallery]) -> Snapshot:
    rows = SearchPart.objects.filter(gallery_id__in=[gallery.pk for gallery in galleries]).defer("words")
    kept = {row.gallery_id: row for row in rows}
    return Snapshot([(gallery, _part(gallery, kept.get(gallery.pk))) for gallery in galleries])


def _part(gallery: Gallery, kept: SearchPart | None) -> Part:
    """From the entries themselves when the last refresh was made by an earlier release of the console."""
    if kept is None or kept.version != index.version(gallery):
        return index.read(gallery.pk)
    return decoded(bytes(kept.members))


#: The snapshot of these galleries, in their order; made in some milliseconds when one of them was read again.
latest = _Latest().of
