"""Finding entries: what a person asks for, as it stands in the URL, and the rows that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from django.db.models import Case, F, IntegerField, OuterRef, Q, QuerySet, Subquery, TextField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from django.http import QueryDict

from gallery.models import Entry, EntryQuerySet, Gallery, Job
from gallery.states import ACTIVE, Kind
from localai_admin.lib.parameters import page_number, words

PAGE_SIZE = 24
MAX_WORDS = 8
MAX_TAGS = 5
MAX_LENGTH = 100
MAX_PAGE = 10_000
#: In a filter: entries for which the gallery does not say.
NOT_SAID = "-"

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
            sort=sort if sort in SORTS else "",
            page=page_number(params.get("page", ""), MAX_PAGE),
        )

    @property
    def words(self) -> list[str]:
        return self.q.lower().split()[:MAX_WORDS]

    @property
    def is_filtered(self) -> bool:
        return self != Wish(sort=self.sort, page=self.page)

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
        plain = ("q", "usecase", "backend", "gallery", "license", "installed", "sort")
        pairs = [(key, getattr(self, key)) for key in plain] + [("tag", tag) for tag in self.tags]
        pairs += [("page", str(self.page))] if self.page > 1 else []
        return [(key, value) for key, value in pairs if value]

    @property
    def query_string(self) -> str:
        """`?a=b`, or `?` alone: a link with it goes to the same page with nothing chosen."""
        return "?" + urlencode(self.parameters())


def worded(wish: Wish) -> Q:
    """Entries that have every word somewhere in name, tags or description."""
    found = Q()
    for word in wish.words:
        found &= Q(search__contains=word)
    return found


def chosen(wish: Wish, installed: frozenset[str]) -> Q:
    """Entries in the chosen facets."""
    found = Q()
    for tag in wish.tags:
        found &= Q(pk__in=Subquery(_with_tag(tag)))
    if wish.usecase:
        found &= Q(usecase_text__contains=f'"{wish.usecase}"')
    for field in ("backend", "license"):
        if value := getattr(wish, field):
            found &= Q(**{field: "" if value == NOT_SAID else value})
    if wish.installed:
        here = Q(name__in=installed)
        found &= here if wish.installed == "yes" else ~here
    return found


def _with_tag(tag: str) -> QuerySet[Entry, Any]:
    return Entry.objects.filter(tag_rows__tag=tag).order_by().values("pk")


def with_usecase_text(entries: EntryQuerySet) -> EntryQuerySet:
    """With the list of use cases as the text it is stored as, so that one word can be looked for in any database."""
    return entries.alias(usecase_text=Cast("usecases", TextField()))


def page_of(wish: Wish, galleries: Sequence[Gallery], installed: frozenset[str]) -> list[Entry]:
    """The entries of the wished page, each with `gallery` set and `job_id`: the install under way, or None."""
    by_id = {gallery.pk: gallery for gallery in galleries if wish.gallery in ("", gallery.name)}
    found = with_usecase_text(Entry.objects.filter(gallery_id__in=by_id))
    found = found.filter(worded(wish), chosen(wish, installed)).defer("search", "data")
    found = found.annotate(job_id=Subquery(_installs()))
    start = (wish.page - 1) * PAGE_SIZE
    entries = list(found.order_by(*_ordering(wish, single=len(by_id) < 2))[start : start + PAGE_SIZE])
    for entry in entries:
        entry.gallery = by_id[entry.gallery_id]
    return entries


def _installs() -> Any:
    mine = Job.objects.filter(kind=Kind.INSTALL, subject=OuterRef("name"), state__in=ACTIVE)
    return mine.order_by().values("pk")[:1]


def _ordering(wish: Wish, single: bool) -> list[str | Combinable]:
    """One gallery's own order is the order of an index; over several it takes a join."""
    natural: list[str | Combinable] = ["position"] if single else ["gallery__position", "gallery_id", "position"]
    orders: dict[str, list[str | Combinable]] = {
        BEST: [_rank(wish)] if wish.words else [],
        "name": ["name"],
        "smallest": [F("size").asc(nulls_last=True)],
        "largest": [F("size").desc(nulls_last=True)],
    }
    return orders.get(wish.sort, []) + natural


def _rank(wish: Wish) -> Case:
    """The name itself, then names that begin so, then names with every word, then the rest."""
    dashed = "-".join(wish.words)
    in_name = Q()
    for word in wish.words:
        in_name &= Q(name__icontains=word)
    return Case(
        When(Q(name__iexact=wish.q) | Q(name__iexact=dashed), then=Value(0)),
        When(Q(name__istartswith=wish.q) | Q(name__istartswith=dashed), then=Value(1)),
        When(in_name, then=Value(2)),
        default=Value(3),
        output_field=IntegerField(),
    )
