"""Keeping the console's copy of each gallery: ask whether it changed, read it whole, write it in one go.

What was read last stays until something better is written. One gallery's failure is its own.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from gallery.catalog import configured
from gallery.catalog.entries import CatalogEntry
from gallery.catalog.errors import CatalogError
from gallery.catalog.parsing import ParsedIndex
from gallery.catalog.sources import Fetched, Known, fetch_index
from gallery.models import Entry, EntryTag, Gallery, Job
from gallery.services import jobs, running
from gallery.services.errors import EntryGone
from gallery.services.intent import Stopped
from gallery.services.running import JobRun
from gallery.services.transport import downloader
from gallery.states import Kind, State

log = logging.getLogger(__name__)

#: A gallery that failed is asked again this soon.
AFTER_FAILURE = timedelta(minutes=10)

_BATCH = 500
_WRITTEN = ["position", "summary", "license", "icon", "backend", "tags", "usecases", "size", "search", "data"]


def sync_from_settings() -> list[str]:
    """Make the rows of the galleries what the settings say. Returns a sentence for each that is no good.

    A gallery that the settings no longer name is not shown any more; what was read of it is kept.
    """
    good, problems = configured.read(settings.GALLERIES)
    for problem in problems:
        log.warning(problem)
    for wanted in good:
        _sync(wanted)
    Gallery.objects.exclude(name__in=[configured.STARTER, *(wanted.name for wanted in good)]).update(enabled=False)
    return problems


def setting_problems() -> list[str]:
    """A sentence for each gallery of the settings that is not used."""
    return configured.read(settings.GALLERIES)[1]


def _sync(wanted: configured.Wanted) -> None:
    facts = {"url": wanted.url, "mirrors": list(wanted.mirrors), "position": wanted.position, "enabled": True}
    with transaction.atomic():
        gallery, created = Gallery.objects.get_or_create(name=wanted.name, defaults=facts)
        if not created:
            moved = gallery.url != facts["url"]
            # What another address said about its copy says nothing about this one's.
            fresh = {"etag": "", "last_modified": "", "checked_at": None} if moved else {}
            Gallery.objects.filter(pk=gallery.pk).update(**facts, **fresh)


def request_refresh(gallery: Gallery, by: AbstractBaseUser | None) -> Job:
    """Have a worker read the gallery again."""
    return jobs.create(Kind.REFRESH, gallery.name, {"gallery": gallery.pk}, by)[0]


def request_refresh_all(by: AbstractBaseUser | None) -> list[Job]:
    return [request_refresh(gallery, by) for gallery in Gallery.objects.filter(enabled=True)]


def run_refresh(run: JobRun) -> str:
    gallery = _gallery(run.job.request["gallery"])
    run.say(f"Asking {gallery.name} for its index")
    return _refresh_in_job(gallery, partial(_ask, gallery, run.check), run)


def refresh_now(gallery_id: int) -> bool:
    """Read the gallery, whoever calls. Returns whether anything was new.

    Raises EntryGone without such a gallery, SourceError or CatalogError without a usable index: then what was read
    before is kept, and the reason is written to the gallery.
    """
    gallery = _gallery(gallery_id)
    return _take_over(gallery, partial(_ask, gallery), lambda: None) is not None


def refresh_due(now: datetime, minutes: int, stopping: Event) -> list[str]:
    """Ask every gallery that was not asked for so long, and read those that changed. Returns the names of these.

    Only a change makes a job: what is looked at every hour and is the same would only fill the history.
    """
    due = Q(checked_at=None) | Q(checked_at__lt=now - timedelta(minutes=minutes))
    failed = ~Q(error="") & Q(checked_at__lt=now - AFTER_FAILURE)
    changed = []
    for gallery in Gallery.objects.filter(due | failed, enabled=True):
        if stopping.is_set():
            break
        if jobs.active(Kind.REFRESH, gallery.name) is None and _refresh_quietly(gallery, stopping):
            changed.append(gallery.name)
    return changed


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


def _ask(gallery: Gallery, check: Callable[[], None] = lambda: None) -> Fetched:
    known = Known(gallery.etag, gallery.last_modified, gallery.digest)
    with downloader() as transport:
        return fetch_index(gallery.url, gallery.mirrors, known=known, fetcher=transport.fetch, check=check)


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
    Gallery.objects.filter(pk=gallery.pk).update(**known, checked_at=timezone.now(), error="", **fields)


def _write(gallery: Gallery, found: Fetched, index: ParsedIndex) -> None:
    """All of it or nothing: a page never sees half a gallery."""
    names: set[str] = set()
    with transaction.atomic():
        EntryTag.objects.filter(entry__gallery=gallery).delete()
        for batch in index.batches(_BATCH):
            _write_batch(gallery, batch, first=len(names))
            names |= {entry.name for entry in batch}
        known = Entry.objects.filter(gallery=gallery).values_list("pk", "name")
        _delete([pk for pk, name in known if name not in names])
        _remember_answer(gallery, found, digest=found.known.digest, refreshed_at=timezone.now(), entry_count=len(names))


def _write_batch(gallery: Gallery, batch: list[CatalogEntry], first: int) -> None:
    rows = [_row(gallery, entry, position) for position, entry in enumerate(batch, start=first)]
    Entry.objects.bulk_create(rows, update_conflicts=True, unique_fields=["gallery", "name"], update_fields=_WRITTEN)
    # Of a row that was there before, the key is not told.
    keys = dict(Entry.objects.filter(gallery=gallery, name__in=[row.name for row in rows]).values_list("name", "pk"))
    EntryTag.objects.bulk_create(EntryTag(entry_id=keys[row.name], tag=tag) for row in rows for tag in _tags(row))


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
        search="\n".join([entry.name, " ".join(entry.tags), entry.description]).lower(),
        data=entry.raw,
    )


def _tags(row: Entry) -> list[str]:
    return list(dict.fromkeys(tag.lower() for tag in row.tags))
