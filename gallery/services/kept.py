"""Earlier revisions of models, kept in `.previous/<model>/<number>/` of the models folder for a way back."""

import logging
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from gallery.downloads.places import PREVIOUS
from gallery.models import Job, Revision
from gallery.services import models_folder
from gallery.services.errors import Conflict
from gallery.states import EXCLUSIVE
from localai_admin.lib.paths import file_name_for_model
from team.people import name_of

log = logging.getLogger(__name__)

#: Earlier revisions of one model that are kept, and for how long.
KEPT_REVISIONS = 1
KEPT_FOR = timedelta(days=30)
#: How long a page waits while files are put in place. Seconds.
WAIT = 5.0
#: A folder that no revision tells of may be one whose row is about to be written.
_UNKNOWN_FOR = timedelta(days=1)


def forget(revision: Revision, by: AbstractBaseUser | None) -> int:
    """Remove what is kept of an earlier revision; its row stays in the history. Returns the bytes that became free.

    Raises Conflict while the model is being installed, rolled back or deleted, FolderBusy while others put files in
    place.
    """
    with models_folder.changing(WAIT):
        revision.refresh_from_db()
        if not revision.is_kept:
            return 0
        if job := _job_on(revision.name):
            raise Conflict(f"{job} is under way, and may need it.", "Wait until it has ended, then try again.")
        freed = revision.kept_bytes
        give_up(revision)
    log.info("%s is forgotten by %s: %s bytes", revision, name_of(by) or "the console", freed)
    return freed


def _job_on(name: str) -> Job | None:
    """The job that may need what is kept of a model. A roll back looks again once it is alone in the models folder."""
    return Job.objects.active().filter(kind__in=sorted(EXCLUSIVE), subject=name).first()


def is_place(name: str, kept_in: object) -> bool:
    """Whether a text names a folder where a revision of the model can be kept."""
    start = f"{PREVIOUS}/{file_name_for_model(name)}/"
    return isinstance(kept_in, str) and kept_in.startswith(start) and kept_in.removeprefix(start).isdecimal()


def give_up(revision: Revision) -> None:
    """The row first: a folder that no row tells of is found again, a row without its folder would promise too much."""
    folder = revision.kept_in
    Revision.objects.filter(pk=revision.pk).update(kept_in="", kept_bytes=0)
    revision.kept_in, revision.kept_bytes = "", 0
    if place := _place(folder):
        _remove(place)


def clear(kept_in: str) -> None:
    """Remove a folder that no row tells of any more."""
    place = _place(kept_in)
    if place and not Revision.objects.on_this_node().filter(kept_in=kept_in).exists():
        _remove(place)


def prune(name: str) -> None:
    """Keep the last ones alone."""
    for revision in Revision.objects.on_this_node().kept().filter(name=name).order_by("-replaced_at")[KEPT_REVISIONS:]:
        give_up(revision)


def sweep(now: datetime) -> list[str]:
    """Give up what was kept for long enough, and folders that nobody knows. Returns the names of what went."""
    gone = []
    for revision in Revision.objects.on_this_node().kept().filter(replaced_at__lt=now - KEPT_FOR):
        with models_folder.changing():
            if _job_on(revision.name) is None:
                give_up(revision)
                gone.append(str(revision))
    known = set(Revision.objects.on_this_node().exclude(kept_in="").values_list("kept_in", flat=True))
    for folder in list(_folders()):
        name = f"{PREVIOUS}/{folder.relative_to(_root()).as_posix()}"
        if name not in known and folder.stat().st_mtime < (now - _UNKNOWN_FOR).timestamp():
            _remove(folder)
            gone.append(name)
    return gone


def model_deleted(name: str) -> None:
    """There is nothing to go back from or to any more. Safe to call twice."""
    rows = Revision.objects.on_this_node().filter(name=name)
    rows.update(is_current=False, kept_in="", kept_bytes=0)
    if not _root().is_symlink():
        shutil.rmtree(_root() / file_name_for_model(name), ignore_errors=True)
        _remove_root()


def bytes_kept(name: str) -> int:
    """What the earlier revisions of a model take, in bytes."""
    return sum(Revision.objects.on_this_node().kept().filter(name=name).values_list("kept_bytes", flat=True))


def size_of(kept_in: str) -> int | None:
    """Bytes of what is kept in a folder; None when nothing is."""
    names = names_in(kept_in)
    return sum((Path(settings.MODELS_PATH) / kept_in / name).lstat().st_size for name in names) if names else None


def names_in(kept_in: str) -> list[str]:
    """The files that are kept in a folder, by the names they have in the models folder."""
    folder = _place(kept_in)
    if folder is None or not folder.is_dir():
        return []
    found = (Path(parent, file) for parent, _, files in os.walk(folder) for file in files)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _place(kept_in: str) -> Path | None:
    """Where a folder of a revision is; None for what is none, or when a link stands on the way: others may write."""
    previous, _, below = kept_in.partition("/")
    model, _, number = below.partition("/")
    if previous != PREVIOUS or model in {"", ".", ".."} or not number.isdecimal():
        return None
    way = (_root(), _root() / model, _root() / model / number)
    return None if any(folder.is_symlink() for folder in way) else way[-1]


def _root() -> Path:
    return Path(settings.MODELS_PATH) / PREVIOUS


def _folders() -> Iterator[Path]:
    """The folder of every revision."""
    if _root().is_dir() and not _root().is_symlink():
        for model in _root().iterdir():
            if model.is_dir() and not model.is_symlink():
                yield from (folder for folder in model.iterdir() if folder.is_dir() and not folder.is_symlink())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        log.warning("%s could not be removed", folder)
        return
    try:
        folder.parent.rmdir()
    except OSError:
        return  # Others are kept there.
    _remove_root()


def _remove_root() -> None:
    try:
        _root().rmdir()
    except OSError:
        log.debug("%s stays: it is not empty, or not there", PREVIOUS)
