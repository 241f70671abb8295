"""Finding entries: what a person asks for, as it stands in the URL, and the rows that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from django.db.models import OuterRef, Subquery
from django.http import QueryDict

from gallery.installed import Installed
from gallery.models import Entry, Gallery, Job
from gallery.searching import snapshot
from gallery.searching.matching import found
from gallery.searching.query import Query, parse
from gallery.searching.snapshot import Matches, Snapshot
from gallery.states import ACTIVE, Kind
from localai_admin.lib.parameters import page_number, words

PAGE_SIZE = 24
MAX_TAGS = 5
MAX_LENGTH = 100
MAX_PAGE = 10_000

#: The first holds when nothing is chosen; without a word to match, it is the gallery's order.
BEST, INDEX_ORDER = "", "gallery"
SORTS = {
    BEST: "Best match",
    INDEX_ORDER: "Gallery order",
    "name": "Name",
    "smallest": "Smallest first",
    "largest": "Largest first",
}


@dataclass(frozen=True)
class Wish:
    """What is asked for. Every field is one parameter of the URL; an empty one is left out of it."""

    q: str = ""
    tags: tuple[str, ...] = ()
    usecase: str = ""
    backend: str = ""
    gallery: str = ""
    license: str = ""
    installed: str = ""
    exactly: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def read(cls, params: QueryDict) -> Self:
        """The wish of a URL. What makes no sense in it counts as not said."""
        plain = ("q", "usecase", "backend", "gallery", "license")
        text = {key: words(params.get(key, ""), MAX_LENGTH) for key in plain}
        tags = dict.fromkeys(filter(None, (words(tag, MAX_LENGTH).lower() for tag in params.getlist("tag"))))
        installed, sort = params.get("installed", ""), params.get("sort", "")
        return cls(
            **text,
            tags=tuple(tags)[:MAX_TAGS],
            installed=installed if installed in ("yes", "no") else "",
            exactly="1" if params.get("exactly") == "1" else "",
            sort=sort if sort in SORTS else "",
            page=page_number(params.get("page", ""), MAX_PAGE),
        )

    @property
    def is_filtered(self) -> bool:
        return self != Wish(sort=self.sort, page=self.page, exactly=self.exactly)

    def but(self, **changes: Any) -> Self:
        """The same wish with some fields changed, from its first page on."""
        return replace(self, **{"page": 1, **changes})

    def toggled(self, field: str, value: str) -> Self:
        """Chosen when it was not, else given up."""
        if field == "tag":
            kept = tuple(tag for tag in self.tags if tag != value)
            return self.but(tags=kept if value in self.tags else (*self.tags, value))
        return self.but(**{field: "" if getattr(self, field) == value else value})

    def parameters(self) -> list[tuple[str, str]]:
        """The parameters of the URL, in a fixed order."""
        plain = ("q", "exactly", "usecase", "backend", "gallery", "license", "installed", "sort")
        pairs = [(key, getattr(self, key)) for key in plain] + [("tag", tag) for tag in self.tags]
        pairs += [("page", str(self.page))] if self.page > 1 else []
        return [(key, value) for key, value in pairs if value]

    @property
    def query_string(self) -> str:
        """`?a=b`, or `?` alone: a link with it goes to the same page with nothing chosen."""
        return "?" + urlencode(self.parameters())


@dataclass(frozen=True)
class Answer:
    """What a wish finds. `chosen` has, for each facet with a choice, the entries in it."""

    wish: Wish
    snapshot: Snapshot
    query: Query
    worded: Matches
    #: The words that were searched instead of the ones that are nowhere; empty when those were found.
    meant: str
    chosen: dict[str, int]
    here: int

    @property
    def total(self) -> int:
        return self.left().bit_count()

    def left(self, without: str = "") -> int:
        """The entries with the words and in every chosen facet, but for one, as a bitmap."""
        left = self.worded.members
        for field, members in self.chosen.items():
            if field != without:
                left &= members
        return left

    def keys(self) -> list[int]:
        """Of the entries of the wished page, in their order."""
        start = (self.wish.page - 1) * PAGE_SIZE
        return self.snapshot.page(self._in_order(), start, PAGE_SIZE)

    def _in_order(self) -> Matches:
        left = self.left()
        match self.wish.sort:
            case "name":
                return Matches(left, self.snapshot.by_name)
            case "smallest":
                return Matches(left, self.snapshot.by_size)
            case "largest":
                return Matches(left, self.snapshot.by_size_down)
        return Matches(left) if self.wish.sort == INDEX_ORDER else replace(self.worded, members=left)


def answer(wish: Wish, galleries: Sequence[Gallery], installed: Installed) -> Answer:
    """Two queries of the full-text index for words that were not searched before; none without words."""
    entries = snapshot.latest(galleries)
    query, matches, meant = _searched(wish, entries)
    here = entries.installed(installed)
    chosen = _chosen(wish, entries, here)
    return Answer(wish, entries, query, matches, meant, chosen, here)


def _searched(wish: Wish, entries: Snapshot) -> tuple[Query, Matches, str]:
    if not wish.q:
        return Query(()), Matches(entries.everything), ""
    return found(parse(wish.q), wish.q, entries, forgiving=not wish.exactly)


def _chosen(wish: Wish, entries: Snapshot, here: int) -> dict[str, int]:
    chosen = {}
    for field in ("usecase", "backend", "license", "gallery"):
        if value := getattr(wish, field):
            chosen[field] = entries.postings[field].having(value)
    if wish.tags:
        chosen["tag"] = entries.everything
        for tag in wish.tags:
            chosen["tag"] &= entries.postings["tag"].having(tag)
    if wish.installed:
        chosen["installed"] = here if wish.installed == "yes" else entries.everything & ~here
    return chosen


def page_of(found: Answer, galleries: Sequence[Gallery]) -> list[Entry]:
    """The entries of the wished page, each with `gallery` set and `job_id`: the install under way, or None."""
    by_id = {gallery.pk: gallery for gallery in galleries}
    keys = found.keys()
    rows = Entry.objects.filter(pk__in=keys).defer("search", "data").annotate(job_id=Subquery(_installs())).order_by()
    by_key = {entry.pk: entry for entry in rows} if keys else {}
    # What a refresh took away since the places were read is missing here, until the next look.
    entries = [by_key[key] for key in keys if key in by_key]
    for entry in entries:
        entry.gallery = by_id[entry.gallery_id]
    return entries


def _installs() -> Any:
    mine = Job.objects.filter(kind=Kind.INSTALL, subject=OuterRef("name"), state__in=ACTIVE)
    return mine.order_by().values("pk")[:1]
