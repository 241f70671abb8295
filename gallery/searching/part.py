"""What finding and counting needs to know of one gallery's entries, and its form in the database."""

import json
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from gallery.searching.members import PLACES, Members, packed
from gallery.searching.query import compact

#: Another number for another form in the database: what an earlier release left is made anew from the entries.
FORM = 2

#: In a filter: entries for which the gallery does not say.
NOT_SAID = "-"
#: A size that the gallery does not say.
NO_SIZE = -1

FIELDS = ("usecase", "tag", "backend", "license")


@dataclass(frozen=True)
class Row:
    """One entry, in the gallery's order."""

    pk: int
    name: str
    size: int | None
    backend: str
    license: str
    tags: Iterable[str]
    usecases: Iterable[str]


@dataclass
class Part:
    """All entries of one gallery by place: `fields` is facet to value to the places that have it.

    `by_compact` is the places in the order of their names without what stands between the parts of one.
    """

    pks: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    by_compact: "array[int]" = field(default_factory=lambda: array(PLACES))
    names: list[str] = field(default_factory=list)
    fields: dict[str, dict[str, Members]] = field(default_factory=dict)


def made(rows: Iterable[Row]) -> Part:
    part = Part()
    places: dict[str, dict[str, array[int]]] = {name: {} for name in FIELDS}
    for place, row in enumerate(rows):
        part.pks.append(row.pk)
        part.sizes.append(NO_SIZE if row.size is None else row.size)
        part.names.append(row.name)
        for name, values in _values(row).items():
            for value in values:
                places[name].setdefault(value, array(PLACES)).append(place)
    count = len(part.pks)
    part.by_compact = array(PLACES, sorted(range(count), key=list(map(compact, part.names)).__getitem__))
    part.fields = {
        name: {value: packed(found, count) for value, found in values.items()} for name, values in places.items()
    }
    return part


def _values(row: Row) -> dict[str, Iterable[str]]:
    return {
        "usecase": dict.fromkeys(map(str, row.usecases)),
        "tag": dict.fromkeys(str(tag).lower() for tag in row.tags),
        "backend": [row.backend or NOT_SAID],
        "license": [row.license or NOT_SAID],
    }


def encoded(part: Part) -> bytes:
    """A line of JSON that says what follows, then the bytes of it; compressed."""
    chunks = [*map(bytes, (part.pks, part.sizes, part.by_compact)), json.dumps(part.names).encode()]
    said: list[tuple[str, str, bool, int]] = []
    for name, values in part.fields.items():
        for value, members in values.items():
            chunk = _bytes(members)
            said.append((name, value, isinstance(members, int), len(chunk)))
            chunks.append(chunk)
    head = {"lengths": [len(chunk) for chunk in chunks[:4]], "members": said}
    return zlib.compress(b"\n".join([json.dumps(head).encode(), b"".join(chunks)]), level=1)


def decoded(data: bytes) -> Part:
    head, _, body = zlib.decompress(data).partition(b"\n")
    said = json.loads(head)
    view, place = memoryview(body), 0

    def take(length: int) -> memoryview:
        nonlocal place
        place += length
        return view[place - length : place]

    pks, sizes, by_compact, names = map(take, said["lengths"])
    part = Part(_array("q", pks), _array("q", sizes), _array(PLACES, by_compact), json.loads(bytes(names)))
    part.fields = {name: {} for name in FIELDS}
    for name, value, is_bitmap, length in said["members"]:
        chunk = take(length)
        part.fields[name][value] = int.from_bytes(chunk, "little") if is_bitmap else _array(PLACES, chunk)
    return part


def _bytes(members: Members) -> bytes:
    return members.to_bytes(members.bit_length() // 8 + 1, "little") if isinstance(members, int) else members.tobytes()


def _array(kind: Literal["q", "I"], chunk: memoryview) -> "array[int]":
    made = array(kind)
    made.frombytes(chunk)
    return made
