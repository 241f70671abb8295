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
from gallery.services.errors import Conflict
from gallery.states import EXCLUSIVE
from localai_admin.lib.paths import file_name_for_model
from team.people import name_of

log = logging.getLogger(__name__)

#: Earlier revisions of one model that are kept, and for how long.
KEPT_REVISIONS = 1
KEPT_FOR = timedelta(days=30)
#: A folder that no revision tells of may be one whose row is about to be written.
_UNKNOWN_FOR = timedelta(days=1)


def forget(revision: Revision, by: AbstractBaseUser | None) -> int:
    """Remove what is kept of an earlier revision; its row stays in the history. Returns the bytes that became free.

    Raises Conflict while the model is being installed, rolled back or deleted.
    """
    if not revision.is_kept:
        return 0
    kinds = sorted(EXCLUSIVE)
    if job := Job.objects.active().filter(kind__in=kinds, subject=revision.name).first():
        raise Conflict(f"{job} is under way, and may need it.", "Wait until it has ended, then try again.")
    freed = revision.kept_bytes
    give_up(revision)
    log.info("%s is forgotten by %s: %s bytes", revision, name_of(by) or "the console", freed)
    return freed


def give_up(revision: Revision) -> None:
    """The row first: a folder that no row tells of is found again, a row without its folder would promise too much."""
    folder = revision.kept_in
    Revision.objects.filter(pk=revision.pk).update(kept_in="", kept_bytes=0)
    revision.kept_in, revision.kept_bytes = "", 0
    if folder:
        _remove(_root() / Path(folder).relative_to(PREVIOUS))


def clear(kept_in: str) -> None:
    """Remove a folder that no row tells of any more."""
    if not Revision.objects.on_this_node().filter(kept_in=kept_in).exists():
        _remove(_root() / Path(kept_in).relative_to(PREVIOUS))


def prune(name: str) -> None:
    """Keep the last ones alone."""
    for revision in Revision.objects.on_this_node().kept().filter(name=name).order_by("-replaced_at")[KEPT_REVISIONS:]:
        give_up(revision)


def sweep(now: datetime) -> list[str]:
    """Give up what was kept for long enough, and folders that nobody knows. Returns the names of what went."""
    gone = []
    for revision in Revision.objects.on_this_node().kept().filter(replaced_at__lt=now - KEPT_FOR):
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
    folder = Path(settings.MODELS_PATH) / kept_in
    if not kept_in or not folder.is_dir():
        return []
    found = (Path(parent, file) for parent, _, files in os.walk(folder) for file in files)
    return sorted(path.relative_to(folder).as_posix() for path in found)


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
