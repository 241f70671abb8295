"""What a refresh leaves for finding and counting: the sets of a gallery's entries, and its words.

The full-text index itself is kept by the database, row by row.
"""

from collections.abc import Iterator

from gallery.models import Entry, Gallery, SearchPart
from gallery.searching import part as parts
from gallery.searching.part import Part, Row
from gallery.searching.spelling import Vocabulary

_AT_ONCE = 2000
_READ = ("pk", "name", "size", "backend", "license", "tags", "usecases")


def write(gallery: Gallery) -> None:
    """Call it last in the transaction that wrote the gallery's entries."""
    gallery = Gallery.objects.get(pk=gallery.pk)
    made = {
        "version": version(gallery),
        "members": parts.encoded(read(gallery.pk)),
        "words": vocabulary(gallery.pk).dump(),
    }
    SearchPart.objects.update_or_create(gallery=gallery, defaults=made)


def version(gallery: Gallery) -> str:
    """What changes whenever the gallery's entries do; empty when they were never read."""
    if not (gallery.digest and gallery.refreshed_at):
        return ""
    return f"{parts.FORM} {gallery.digest} {gallery.refreshed_at.isoformat()}"


def read(gallery_id: int) -> Part:
    """The sets, from the entries themselves: a second or two for a hundred thousand."""
    return parts.made(_rows(gallery_id))


def vocabulary(gallery_id: int) -> Vocabulary:
    found = Vocabulary()
    texts = Entry.objects.filter(gallery_id=gallery_id).order_by().values_list("name", "tags", "summary")
    for name, tags, summary in texts.iterator(_AT_ONCE):
        found.add(" ".join([name, *map(str, tags or ()), summary]))
    return found


def _rows(gallery_id: int) -> Iterator[Row]:
    entries = Entry.objects.filter(gallery_id=gallery_id).order_by("position", "pk").values_list(*_READ)
    for pk, name, size, backend, licence, tags, usecases in entries.iterator(_AT_ONCE):
        yield Row(pk, name, size, backend, licence, tags or (), usecases or ())
