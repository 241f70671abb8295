"""Keeping the console's copy of each gallery: ask whether it changed, read it whole, write it in one go.

What was read last stays until something better is written. One gallery's failure is its own.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from threading import Event
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from gallery.catalog.entries import CatalogEntry
from gallery.catalog.errors import CatalogError, SourceError
from gallery.catalog.sources import Fetched, fetch_index
from gallery.models import Entry, EntryTag, Gallery, Job
from gallery.services import jobs, running
from gallery.services.errors import EntryGone
from gallery.services.running import JobRun
from gallery.services.transport import downloader
from gallery.states import Kind, State

log = logging.getLogger(__name__)

#: The gallery that is made on this machine; the settings say nothing about it.
STARTER = "starter"
#: A gallery that failed is asked again this soon.
AFTER_FAILURE = timedelta(minutes=10)

_BATCH = 500
_WRITTEN = ["position", "summary", "license", "icon", "backend", "tags", "usecases", "size", "search", "data"]


def sync_from_settings() -> list[str]:
    """Make the rows of the galleries what the settings say. Returns a sentence for each that is no good.

    A gallery that the settings no longer name is not shown any more; what was read of it is kept.
    """
    problems, named = [], [STARTER]
    for position, item in enumerate(settings.GALLERIES, start=1):
        if problem := _problem(item):
            problems.append(problem)
            log.error(problem)
            continue
        named.append(item["name"].strip())
        _sync(item, position)
    Gallery.objects.exclude(name__in=named).update(enabled=False)
    return problems


def _problem(item: object) -> str:
    if not isinstance(item, Mapping):
        return f"LOCALAI_GALLERIES has {str(item)[:100]!r}; each gallery must be a map with name and url."
    for key in ("name", "url"):
        if not isinstance(item.get(key), str) or not item[key].strip():
            return f"LOCALAI_GALLERIES has {str(dict(item))[:200]}, which has no {key}; add one."
    if item["name"].strip() == STARTER:
        return f"LOCALAI_GALLERIES has a gallery called {STARTER}, which is the console's own; choose another name."
    return ""


def _sync(item: Mapping[str, Any], position: int) -> None:
    mirrors = [mirror for mirror in item.get("mirrors") or [] if isinstance(mirror, str)]
    facts = {"url": item["url"].strip(), "mirrors": mirrors, "position": position, "enabled": True}
    with transaction.atomic():
        gallery, created = Gallery.objects.get_or_create(name=item["name"].strip()[:100], defaults=facts)
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
    return _refresh_in_job(gallery, partial(_ask, gallery), run)


def refresh_now(gallery_id: int, before_writing: Callable[[], None] = lambda: None) -> bool:
    """Read the gallery, in this process. Returns whether anything was new.

    Raises EntryGone without such a gallery, SourceError or CatalogError without a usable index: then what was read
    before is kept, and the reason is written to the gallery.
    """
    gallery = _gallery(gallery_id)
    return _take_over(gallery, partial(_ask, gallery), before_writing)


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
    try:
        found = _ask(gallery)
    except CatalogError as error:
        _remember_failure(gallery, error)
        return False
    if _is_same(gallery, found):
        _remember_answer(gallery, found)
        return False
    job = request_refresh(gallery, by=None)
    running.run(job.pk, partial(_refresh_in_job, gallery, lambda: found), stopping)
    return True


def _refresh_in_job(gallery: Gallery, ask: Callable[[], Fetched], run: JobRun) -> str:
    changed = _take_over(gallery, ask, lambda: run.move(State.COMMITTING, "the index was read", "Writing the entries"))
    gallery.refresh_from_db()
    return f"{gallery.entry_count:,} entries, {'read anew' if changed else 'nothing new'}"


def _gallery(gallery_id: int) -> Gallery:
    gallery = Gallery.objects.filter(pk=gallery_id).first()
    if gallery is None:
        raise EntryGone("The gallery is no longer there.", "Choose another gallery.")
    return gallery


def _ask(gallery: Gallery) -> Fetched:
    with downloader() as transport:
        found = fetch_index(
            gallery.url,
            gallery.mirrors,
            etag=gallery.etag if gallery.digest else "",
            last_modified=gallery.last_modified if gallery.digest else "",
            fetcher=transport.fetch,
        )
    if found.index is not None and not found.index.entries:
        raise SourceError(f"The index at {found.url} has no entry that can be used.", retry=False)
    return found


def _is_same(gallery: Gallery, found: Fetched) -> bool:
    return found.body is None or sha256(found.body).hexdigest() == gallery.digest


def _take_over(gallery: Gallery, ask: Callable[[], Fetched], before_writing: Callable[[], None]) -> bool:
    try:
        found = ask()
    except CatalogError as error:
        _remember_failure(gallery, error)
        raise
    before_writing()
    if _is_same(gallery, found) or found.index is None or found.body is None:
        _remember_answer(gallery, found)
        return False
    _write(gallery, found.index.entries, found, sha256(found.body).hexdigest())
    return True


def _remember_failure(gallery: Gallery, error: CatalogError) -> None:
    Gallery.objects.filter(pk=gallery.pk).update(error=str(error), checked_at=timezone.now())


def _remember_answer(gallery: Gallery, found: Fetched, **fields: Any) -> None:
    Gallery.objects.filter(pk=gallery.pk).update(
        etag=found.etag[:500], last_modified=found.last_modified[:100], checked_at=timezone.now(), error="", **fields
    )


def _write(gallery: Gallery, entries: Sequence[CatalogEntry], found: Fetched, digest: str) -> None:
    """All of it or nothing: a page never sees half a gallery."""
    rows = [_row(gallery, entry, position) for position, entry in enumerate(entries)]
    names = {row.name for row in rows}
    with transaction.atomic():
        Entry.objects.bulk_create(
            rows, batch_size=_BATCH, update_conflicts=True, unique_fields=["gallery", "name"], update_fields=_WRITTEN
        )
        known = dict(Entry.objects.filter(gallery=gallery).values_list("name", "pk"))
        _delete([pk for name, pk in known.items() if name not in names])
        EntryTag.objects.filter(entry__gallery=gallery).delete()
        EntryTag.objects.bulk_create(
            [EntryTag(entry_id=known[row.name], tag=tag) for row in rows for tag in _tags(row)], batch_size=_BATCH
        )
        _remember_answer(gallery, found, digest=digest, refreshed_at=timezone.now(), entry_count=len(rows))


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
