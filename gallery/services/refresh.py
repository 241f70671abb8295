"""Keeping the console's copy of each gallery: ask whether it changed, read it whole, write it in one go.

What was read last stays until something better is written. One gallery's failure is its own.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from gallery.catalog import configured
from gallery.catalog.entries import CatalogEntry
from gallery.catalog.errors import CatalogError
from gallery.catalog.identity import entry_digest
from gallery.catalog.parsing import ParsedIndex
from gallery.catalog.sources import Cooling, Fetched, Known, fetch_index
from gallery.models import Entry, Gallery, Job
from gallery.searching import index as searching
from gallery.searching.query import searchable
from gallery.services import jobs, running
from gallery.services.errors import EntryGone
from gallery.services.intent import Stopped
from gallery.services.running import JobRun
from gallery.services.transport import downloader, origin
from gallery.states import Kind, State
from localai_admin.lib.net import shown

log = logging.getLogger(__name__)

#: A gallery that failed is asked again this soon.
AFTER_FAILURE = timedelta(minutes=10)

_BATCH = 500
_WRITTEN = ["position", "summary", "license", "icon", "backend", "tags", "usecases", "size", "search", "data", "digest"]

#: Which sources failed lately, as long as this worker lives.
_cooling = Cooling()


def sync_from_settings() -> list[str]:
    """Make the rows of the galleries what the settings say. Returns a sentence for each that is no good.

    What people chose in the console stays: the order, what is switched off, request headers and the schedule. A
    gallery that the settings no longer name is not shown any more; what was read of it is kept.
    """
    good, problems = configured.read(settings.GALLERIES)
    problems += [problem for wanted in good if (problem := _sync(wanted))]
    for problem in problems:
        log.warning(problem)
    named_here = Gallery.objects.filter(source=Gallery.SETTINGS)
    named_here.exclude(name__in=[wanted.name for wanted in good]).update(named=False)
    return problems


def setting_problems() -> list[str]:
    """A sentence for each gallery of the settings that is not used."""
    good, problems = configured.read(settings.GALLERIES)
    others = Gallery.objects.exclude(source=Gallery.SETTINGS).filter(name__in=[wanted.name for wanted in good])
    return problems + [_taken(name) for name in others.values_list("name", flat=True)]


def _sync(wanted: configured.Wanted) -> str:
    """Why the gallery of the settings is not used; empty when it is."""
    facts = {"url": wanted.url, "mirrors": list(wanted.mirrors), "named": True}
    with transaction.atomic():
        fresh = {"source": Gallery.SETTINGS, "position": next_position(), **facts}
        gallery, created = Gallery.objects.get_or_create(name=wanted.name, defaults=fresh)
        if gallery.source != Gallery.SETTINGS:
            return _taken(wanted.name)
        if not created:
            Gallery.objects.filter(pk=gallery.pk).update(**facts, **after_move(gallery, wanted.url))
    return ""


def next_position() -> int:
    """The place behind all galleries."""
    return (Gallery.objects.aggregate(last=Max("position"))["last"] or 0) + 1


def _taken(name: str) -> str:
    return (
        f"LOCALAI_GALLERIES has a gallery called {name}, but one of that name was added in the console and is used "
        "instead; remove that one there, or choose another name."
    )


def after_move(gallery: Gallery, url: str) -> dict[str, Any]:
    """What another address changes: what was said about the old one's copy, and who may see the headers."""
    if gallery.url == url:
        return {}
    fresh: dict[str, Any] = {"etag": "", "last_modified": "", "checked_at": None}
    if gallery.headers and origin(gallery.url) != origin(url):
        log.warning("The gallery %s moved to another host: its request headers were forgotten.", gallery.name)
        fresh["headers"] = {}
    return fresh


def request_refresh(gallery: Gallery, by: AbstractBaseUser | None) -> Job:
    """Have a worker read the gallery again."""
    return jobs.create(Kind.REFRESH, gallery.name, {"gallery": gallery.pk}, by)[0]


def request_refresh_all(by: AbstractBaseUser | None) -> list[Job]:
    return [request_refresh(gallery, by) for gallery in Gallery.objects.shown()]


def run_refresh(run: JobRun) -> str:
    gallery = _gallery(run.job.request["gallery"])
    run.say(f"Asking {gallery.name} for its index")
    # Whoever asks by hand may just have mended the first source.
    return _refresh_in_job(gallery, partial(_ask, gallery, run.check, Cooling()), run)


def refresh_now(gallery_id: int) -> bool:
    """Read the gallery, whoever calls. Returns whether anything was new.

    Raises EntryGone without such a gallery, SourceError or CatalogError without a usable index: then what was read
    before is kept, and the reason is written to the gallery.
    """
    gallery = _gallery(gallery_id)
    return _take_over(gallery, partial(_ask, gallery), lambda: None) is not None


def refresh_due(now: datetime, minutes: int, stopping: Event) -> list[str]:
    """Ask every gallery whose time has come, and read those that changed. Returns the names of these.

    `minutes` is how often those are asked that have no schedule of their own. Only a change makes a job: what is
    looked at every hour and is the same would only fill the history.
    """
    changed = []
    for gallery in Gallery.objects.shown():
        if stopping.is_set():
            break
        due = next_refresh(gallery, minutes)
        if due is None or due > now or jobs.active(Kind.REFRESH, gallery.name) is not None:
            continue
        if _refresh_quietly(gallery, stopping):
            changed.append(gallery.name)
    return changed


def next_refresh(gallery: Gallery, minutes: int) -> datetime | None:
    """When the gallery is asked again by itself; None when only a person has it asked."""
    own = minutes if gallery.refresh_minutes is None else gallery.refresh_minutes
    if not own or not (gallery.enabled and gallery.named):
        return None
    if gallery.checked_at is None:
        return datetime.min.replace(tzinfo=UTC)
    wait = timedelta(minutes=own)
    return gallery.checked_at + (min(wait, AFTER_FAILURE) if gallery.error else wait)


def _refresh_quietly(gallery: Gallery, stopping: Event) -> bool:
    def check() -> None:
        if stopping.is_set():
            raise Stopped

    try:
        found = _ask(gallery, check)
    except Stopped:
        return False
    except CatalogError as error:
        log.warning("The gallery %s could not be read: %s %s", gallery.name, error, error.action)
        _remember_failure(gallery, error)
        return False
    if found.index is None:
        _remember_answer(gallery, found)
        return False
    job = request_refresh(gallery, by=None)
    running.run(job.pk, partial(_refresh_in_job, gallery, lambda: found), stopping)
    return True


def _refresh_in_job(gallery: Gallery, ask: Callable[[], Fetched], run: JobRun) -> str:
    new = _take_over(gallery, ask, lambda: run.move(State.COMMITTING, "the index was read", "Writing the entries"))
    gallery.refresh_from_db()
    count = f"{gallery.entry_count:,} entries"
    if new is None:
        return f"{count}, nothing new"
    left_out, _ = new.left_out
    return f"{count}, read anew" + (f"; {left_out:,} left out, the worker's log says why" if left_out else "")


def _gallery(gallery_id: int) -> Gallery:
    gallery = Gallery.objects.filter(pk=gallery_id).first()
    if gallery is None:
        raise EntryGone("The gallery is no longer there.", "Choose another gallery.")
    return gallery


def _ask(gallery: Gallery, check: Callable[[], None] = lambda: None, cooling: Cooling = _cooling) -> Fetched:
    known = Known(gallery.etag, gallery.last_modified, gallery.digest)
    with downloader(gallery.name) as transport:
        return fetch_index(
            gallery.url, gallery.mirrors, known=known, fetcher=transport.fetch, check=check, cooling=cooling
        )


def _take_over(gallery: Gallery, ask: Callable[[], Fetched], before_writing: Callable[[], None]) -> ParsedIndex | None:
    """Write what is new, and return it; None when nothing is."""
    try:
        found = ask()
    except CatalogError as error:
        _remember_failure(gallery, error)
        raise
    before_writing()
    if found.index is None:
        _remember_answer(gallery, found)
        return None
    for reason in found.index.left_out[1]:
        log.warning("Gallery %s, left out: %s", gallery.name, reason)
    _write(gallery, found, found.index)
    return found.index


def _remember_failure(gallery: Gallery, error: CatalogError) -> None:
    Gallery.objects.filter(pk=gallery.pk).update(error=f"{error} {error.action}".strip(), checked_at=timezone.now())


def _remember_answer(gallery: Gallery, found: Fetched, **fields: Any) -> None:
    known = {"etag": found.known.etag[:500], "last_modified": found.known.last_modified[:100]}
    answered = {"answered_by": shown(found.url), "checked_at": timezone.now(), "error": ""}
    Gallery.objects.filter(pk=gallery.pk).update(**known, **answered, **fields)


def _write(gallery: Gallery, found: Fetched, index: ParsedIndex) -> None:
    """All of it or nothing: a page never sees half a gallery."""
    names: set[str] = set()
    with transaction.atomic():
        for batch in index.batches(_BATCH):
            _write_batch(gallery, batch, first=len(names))
            names |= {entry.name for entry in batch}
        known = Entry.objects.filter(gallery=gallery).values_list("pk", "name")
        _delete([pk for pk, name in known if name not in names])
        _remember_answer(gallery, found, digest=found.known.digest, refreshed_at=timezone.now(), entry_count=len(names))
        searching.write(gallery)


def _write_batch(gallery: Gallery, batch: list[CatalogEntry], first: int) -> None:
    rows = [_row(gallery, entry, position) for position, entry in enumerate(batch, start=first)]
    Entry.objects.bulk_create(rows, update_conflicts=True, unique_fields=["gallery", "name"], update_fields=_WRITTEN)


def _delete(gone: list[int]) -> None:
    for start in range(0, len(gone), _BATCH):
        Entry.objects.filter(pk__in=gone[start : start + _BATCH]).delete()


def _row(gallery: Gallery, entry: CatalogEntry, position: int) -> Entry:
    return Entry(
        gallery=gallery,
        name=entry.name,
        position=position,
        summary=entry.summary,
        license=entry.license,
        icon=entry.icon,
        backend=entry.backend,
        tags=list(entry.tags),
        usecases=list(entry.usecases),
        size=entry.size,
        search=searchable("\n".join([entry.name, " ".join(entry.tags), entry.description])),
        data=entry.raw,
        digest=entry_digest(entry),
    )
