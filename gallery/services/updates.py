"""Which installed models differ from what their gallery offers now."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.db.models import F, OuterRef, Subquery
from django.urls import reverse

from gallery import installed
from gallery.installed import Installed
from gallery.models import Entry, Gallery, Revision

#: What was worked out holds for so long at most: a row that changed without its gallery is seen by then. Seconds.
_HOLDS = 60.0


@dataclass(frozen=True)
class Update:
    """A model, and the entry of a gallery that is not what it was when the model was installed from it.

    `number` is that of the revision that is here; None when LocalAI installed it, or this console before it kept any.
    """

    model: str
    gallery: str
    entry: str
    number: int | None = None

    @property
    def full_entry(self) -> str:
        return f"{self.gallery}@{self.entry}"

    @property
    def entry_url(self) -> str:
        return reverse("gallery:entry", args=[self.gallery, self.entry])

    def request(self) -> dict[str, Any]:
        """The request of the plan, and of the install, that brings the model up to date."""
        wish: dict[str, Any] = {"entry": self.full_entry, "name": self.model, "update": True}
        row = Revision.objects.on_this_node().current().filter(name=self.model).first() if self.number else None
        overrides = row.recipe.get("overrides") if row else None
        return {**wish, "overrides": overrides} if overrides else wish


def available(here: Installed | None = None, galleries: Sequence[Gallery] | None = None) -> list[Update]:
    """By the name of the model. What takes long is worked out only when an index or a model has changed.

    Who has asked already for what is installed, and for the galleries that are shown, saves two queries.
    """
    here = here or installed.entries_here()
    shown = Gallery.objects.shown() if galleries is None else galleries
    key = (here.state, tuple((gallery.pk, gallery.digest, gallery.refreshed_at) for gallery in shown))
    with _lock:
        kept = _kept.get("")
    if kept and kept[0] == key and time.monotonic() < kept[1]:
        return kept[2]
    found = sorted(_found(here), key=lambda update: update.model)
    with _lock:
        _kept[""] = (key, time.monotonic() + _HOLDS, found)
    return found


def of_model(name: str) -> Update | None:
    return next((update for update in available() if update.model == name), None)


def of_entry(gallery: str, entry: str) -> list[Update]:
    """The models that were installed from an entry, and differ from it."""
    return [update for update in available() if (update.gallery, update.entry) == (gallery, entry)]


_lock = Lock()
_kept: dict[str, tuple[object, float, list[Update]]] = {}


def _found(here: Installed) -> Iterator[Update]:
    """A row of a model that is not what it was is no longer true: the folder has the last word."""
    there = {(gallery, entry, model) for (gallery, entry), models in here.models.items() for model in models}
    yield from (update for update in _of_rows() if (update.gallery, update.entry, update.model) in there)
    yield from _of_records({entry: models for (gallery, entry), models in here.models.items() if not gallery})


def _of_rows() -> Iterator[Update]:
    now = Entry.objects.shown().filter(gallery__name=OuterRef("gallery"), name=OuterRef("entry"))
    rows = Revision.objects.on_this_node().current().exclude(entry_digest="").order_by()
    compared = rows.annotate(offered=Subquery(now.values("digest")[:1]))
    changed = compared.filter(offered__gt="").exclude(offered=F("entry_digest"))
    for name, gallery, entry, number in changed.values_list("name", "gallery", "entry", "number"):
        yield Update(name, gallery, entry, number)


def _of_records(models: Mapping[str, tuple[str, ...]]) -> Iterator[Update]:
    """What LocalAI installed is known by its record alone: the entry's files are compared with those in it.

    An entry that several galleries have may be of any of them, and is offered by none.
    """
    if not models:
        return
    offered: dict[str, list[Entry]] = {}
    for entry in Entry.objects.shown().select_related("gallery").defer("search").filter(name__in=list(models)):
        offered.setdefault(entry.name, []).append(entry)
    for name, entries in offered.items():
        for model in models[name] if len(entries) == 1 else ():
            if installed.lacks_files(model, entries[0].data):
                yield Update(model, entries[0].gallery.name, name)
