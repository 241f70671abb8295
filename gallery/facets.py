"""The facets beside the gallery: how many entries each choice would leave, for what is searched and chosen now."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.core.cache import cache
from django.db.models import BooleanField, Case, Count, Value, When

from gallery.models import Entry, EntryTag, Gallery
from gallery.search import NOT_SAID, Wish, chosen, with_usecase_text, worded

SHOWN_TAGS = 20
SHOWN_VALUES = 12
CACHE_SECONDS = 3600

#: The facets that one grouped query counts together; tags have rows of their own.
_GROUPED = ("usecase", "backend", "gallery", "license", "installed")
_LABELS = {
    "usecase": "Use case",
    "tag": "Tag",
    "backend": "Backend",
    "gallery": "Gallery",
    "license": "Licence",
    "installed": "Installed",
}


@dataclass(frozen=True)
class Choice:
    label: str
    count: int
    chosen: bool
    query_string: str


@dataclass(frozen=True)
class Facet:
    field: str
    label: str
    choices: list[Choice]


@dataclass(frozen=True)
class Group:
    """Entries that are alike in everything the grouped query looks at."""

    count: int
    values: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Counts:
    groups: list[Group] = field(default_factory=list)
    tags: list[tuple[str, int]] = field(default_factory=list)

    def total(self, wish: Wish) -> int:
        return sum(group.count for group in self.groups if _matches(group, wish))


def counts(wish: Wish, galleries: Sequence[Gallery], installed: frozenset[str]) -> Counts:
    """Counted once for each state of the galleries and each wish, two queries; then kept for a while."""
    key = _key(wish, galleries, installed)
    kept = cache.get(key) if key else None
    if kept is not None:
        return kept  # type: ignore[no-any-return]
    names = {gallery.pk: gallery.name for gallery in galleries}
    found = Counts(list(_groups(wish, names, installed)), _tags(wish, galleries, installed))
    if key:
        cache.set(key, found, CACHE_SECONDS)
    return found


def facets(wish: Wish, found: Counts, several_galleries: bool) -> list[Facet]:
    """Every facet that offers a choice, with its counts under all the other choices."""
    order = ("installed", "usecase", "tag", "backend", "license", "gallery")
    shown = [field for field in order if field != "gallery" or several_galleries]
    made = (_facet(wish, field, _counted(wish, found, field)) for field in shown)
    return [facet for facet in made if facet.choices]


def _key(wish: Wish, galleries: Sequence[Gallery], installed: frozenset[str]) -> str:
    """Empty when a gallery's content has no digest to know it by."""
    if not all(gallery.digest for gallery in galleries):
        return ""
    state = [(g.pk, g.name, g.digest, str(g.refreshed_at), g.entry_count) for g in galleries]
    asked = [wish.but(sort="").parameters(), state, sorted(installed)]
    return "gallery-counts-" + hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _groups(wish: Wish, names: dict[int, str], installed: frozenset[str]) -> Iterator[Group]:
    """All entries the words and tags leave, by what the other facets look at: each can be counted without itself."""
    only_tags = chosen(Wish(tags=wish.tags), installed)
    here = Case(When(name__in=installed, then=Value(True)), default=Value(False), output_field=BooleanField())
    rows = Entry.objects.filter(worded(wish), only_tags, gallery_id__in=names).order_by()
    grouped = rows.values_list("gallery_id", "backend", "license", "usecases", here).annotate(count=Count("pk"))
    for gallery, backend, license_, usecases, is_here, count in grouped:
        yield Group(
            count,
            {
                "gallery": (names[gallery],),
                "backend": (backend or NOT_SAID,),
                "license": (license_ or NOT_SAID,),
                "usecase": tuple(usecases or ()),
                "installed": ("yes" if is_here else "no",),
            },
        )


def _tags(wish: Wish, galleries: Sequence[Gallery], installed: frozenset[str]) -> list[tuple[str, int]]:
    """The most used tags among the entries that are left by everything chosen."""
    wanted = [gallery.pk for gallery in galleries if wish.gallery in ("", gallery.name)]
    left = with_usecase_text(Entry.objects.filter(gallery_id__in=wanted))
    left = left.filter(worded(wish), chosen(wish, installed)).order_by()
    rows = EntryTag.objects.filter(entry_id__in=left.values("pk"))
    found = rows.values_list("tag").annotate(count=Count("pk")).order_by("-count", "tag")
    return list(found[: SHOWN_TAGS + len(wish.tags)])


def _matches(group: Group, wish: Wish, without: str = "") -> bool:
    return all(
        not (value := getattr(wish, field)) or value in group.values[field] for field in _GROUPED if field != without
    )


def _counted(wish: Wish, found: Counts, field: str) -> list[tuple[str, int]]:
    """(value, count), the most frequent first, what is chosen always among them, and what is not said last."""
    if field == "tag":
        return _with_chosen(found.tags, wish.tags, SHOWN_TAGS)
    counter: Counter[str] = Counter()
    for group in found.groups:
        if _matches(group, wish, without=field):
            counter.update(dict.fromkeys(group.values[field], group.count))
    ranked = sorted(counter.items(), key=lambda pair: (pair[0] == NOT_SAID, -pair[1], pair[0]))
    picked = getattr(wish, field)
    return _with_chosen(ranked, (picked,) if picked else (), SHOWN_VALUES)


def _with_chosen(ranked: list[tuple[str, int]], picked: tuple[str, ...], limit: int) -> list[tuple[str, int]]:
    known = dict(ranked)
    first = [(value, known.get(value, 0)) for value in picked]
    return first + [pair for pair in ranked if pair[0] not in picked][:limit]


def _facet(wish: Wish, field: str, counted: list[tuple[str, int]]) -> Facet:
    picked = wish.tags if field == "tag" else (getattr(wish, field),)
    choices = [
        Choice(_label(field, value), count, value in picked, wish.toggled(field, value).query_string)
        for value, count in counted
    ]
    return Facet(field, _LABELS[field], choices)


def _label(field: str, value: str) -> str:
    if value == NOT_SAID:
        return "Not said"
    if field == "installed":
        return value.capitalize()
    return value.replace("_", " ") if field == "usecase" else value
