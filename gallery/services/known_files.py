"""The digests of files in the models folder, so that nobody has to read a large file twice to know what it is.

What is known of a file holds for as long as its size and its time of change are those it had then.
"""

import os
import stat
from pathlib import Path

from django.conf import settings
from django.db.models import Count, QuerySet
from django.utils import timezone

from gallery.models import KnownFile
from localai_admin.lib.paths import UnsafePath, inside

_BATCH = 500


def digest_of(path: str) -> str | None:
    """The SHA-256 of the file at `path` (relative to the models folder); None when it is not known, or not any more."""
    known = _rows().filter(path=path).first()
    return known.sha256 if known and _is_as_it_was(known) else None


def path_of(sha256: str) -> str | None:
    """A file of the models folder with this digest, relative to the folder; None when none is known to be there."""
    found = _rows().filter(sha256=sha256.lower()).order_by("path") if sha256 else ()
    return next((known.path for known in found if _is_as_it_was(known)), None)


def remember(path: str, sha256: str, status: os.stat_result | None = None) -> None:
    """The file at `path` has this digest. `status` is of the file before it was read, where that was just now.

    What is no file of the models folder is not remembered, and neither is one that has changed since `status`.
    """
    now = status_of(path)
    if now is None or (status is not None and stamp(now) != stamp(status)):
        return
    size, mtime_ns = stamp(now)
    facts = {"size": size, "mtime_ns": mtime_ns, "sha256": sha256.lower(), "seen_at": timezone.now()}
    KnownFile.objects.update_or_create(node=settings.NODE, path=path, defaults=facts)


def forget_missing() -> int:
    """Drop what is known of files that have changed or are gone; returns of how many."""
    stale = [known.pk for known in _rows().iterator() if not _is_as_it_was(known)]
    for start in range(0, len(stale), _BATCH):
        _rows().filter(pk__in=stale[start : start + _BATCH]).delete()
    return len(stale)


def forget(path: str) -> None:
    """Drop what is known of one file."""
    _rows().filter(path=path).delete()


def all_known() -> dict[str, tuple[int, int]]:
    """Size and time of change of each file whose digest is known, by path."""
    rows = _rows().values_list("path", "size", "mtime_ns")
    return {path: (size, mtime_ns) for path, size, mtime_ns in rows.iterator()}


def with_twins() -> list[tuple[str, str, int, int]]:
    """Path, digest, size and time of change of each file whose digest another one has as well."""
    twins = _rows().values("sha256").annotate(files=Count("pk")).filter(files__gt=1).values("sha256")
    return list(_rows().filter(sha256__in=twins).values_list("path", "sha256", "size", "mtime_ns"))


def status_of(path: str) -> os.stat_result | None:
    """Of a regular file of the models folder; None when it is none, or when a link leads there."""
    try:
        status = inside(Path(settings.MODELS_PATH), path).lstat()
    except (OSError, UnsafePath):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def stamp(status: os.stat_result) -> tuple[int, int]:
    """What changes when a file does: size in bytes, and time of change in nanoseconds."""
    return status.st_size, status.st_mtime_ns


def _rows() -> QuerySet[KnownFile]:
    return KnownFile.objects.filter(node=settings.NODE)


def _is_as_it_was(known: KnownFile) -> bool:
    status = status_of(known.path)
    return status is not None and stamp(status) == (known.size, known.mtime_ns)
