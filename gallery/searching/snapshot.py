"""All entries of the galleries that are shown, by place: which are in a facet, and in what order.

A web process holds the latest one: 1 MB for 1,700 entries, about 20 MB for 100,000. It is made anew when a gallery was
read again, from what the refresh left in the database.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, islice
from threading import Lock
from typing import Any

from gallery.installed import Installed
from gallery.models import Entry, Gallery, SearchPart
from gallery.searching import index
from gallery.searching.members import PLACES, Members, Postings, bitmap, flags, from_places, joined, moved, places
from gallery.searching.part import FIELDS, NO_SIZE, Part, decoded
from gallery.searching.query import compact
from gallery.searching.spelling import Vocabulary

#: Searches whose answer is kept, at most half a megabyte each.
_KEPT = 32
#: Of so many entries the compact names are kept, too: a quarter of a megabyte.
_FEW = 3000
NOT_SHOWN = -1


@dataclass(frozen=True)
class Matches:
    """What some words match: a bitmap, and the places of the best, best first; the rest is in the gallery's order."""

    members: int
    best: Sequence[int]


class Snapshot:
    """Places are from 0, gallery by gallery in their order, each in its own order."""

    def __init__(self, galleries: Sequence[tuple[Gallery, Part]]) -> None:
        self.pks, self.sizes, self.names = array("q"), array("q"), list[str]()
        values: dict[str, dict[str, Members]] = {field: {} for field in (*FIELDS, "gallery")}
        for gallery, part in galleries:
            self._add(gallery, part, values)
        self.count = len(self.pks)
        self.everything = (1 << self.count) - 1
        self.postings = {field: Postings(found, self.count) for field, found in values.items()}
        self.galleries = [gallery.pk for gallery, _ in galleries]
        self._sizes_of_galleries = [(gallery.name, len(part.pks)) for gallery, part in galleries]
        self._matches: OrderedDict[object, Matches] = OrderedDict()
        self._lock = Lock()

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

    def with_pks(self, pks: Sequence[int]) -> int:
        """The places of the keys as a bitmap; keys of galleries that are not shown are none. `pks` ascend."""
        if len(pks) * 32 < self.count:
            return from_places((place for place in map(self.place, pks) if place != NOT_SHOWN), self.count)
        return bitmap(bytes(map(set(pks).__contains__, self.pks)))

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

    def page(self, members: int, first: Sequence[int], start: int, length: int) -> list[int]:
        """Keys of a page of a set: those that `first` names in its order, then the rest in the galleries' order."""
        marked = flags(members, self.count)
        found = list(islice(compress(first, map(marked.__getitem__, first)), start, start + length))
        if len(found) < length:
            found += self._rest(members, first, start, length - len(found))
        return [self.pks[place] for place in found]

    def _rest(self, members: int, first: Sequence[int], start: int, length: int) -> Iterator[int]:
        leading = from_places(first, self.count) & members
        start = max(0, start - leading.bit_count())
        return islice(places(members & ~leading, self.count), start, start + length)

    def compact(self, place: int) -> str:
        """The name without what stands between its parts; kept where that is little."""
        return self._compact[place] if self.count <= _FEW else compact(self.names[place])

    @cached_property
    def _compact(self) -> list[str]:
        return list(map(compact, self.names))

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

    def remembered(self, key: object) -> Matches | None:
        with self._lock:
            if key in self._matches:
                self._matches.move_to_end(key)
            return self._matches.get(key)

    def remember(self, key: object, matches: Matches) -> None:
        with self._lock:
            self._matches[key] = matches
            while len(self._matches) > _KEPT:
                self._matches.popitem(last=False)


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
