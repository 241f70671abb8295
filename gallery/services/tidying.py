"""Taking single things off the disk: a file that nobody uses, a suspect, the bytes of a job that is given up."""

import os
import secrets
import shutil
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from gallery.disk.report import SUSPECTS
from gallery.disk.usage import is_loose
from gallery.downloads.places import INGEST, forget_ingest
from gallery.models import Job
from gallery.services import disk, jobs, known_files, leftovers, models_folder
from gallery.services.errors import CannotDelete, Conflict, StillUsed
from gallery.services.suspects import NOTE
from gallery.states import ENDED
from localai_admin.lib.paths import UnsafePath, inside
from models import inventory

#: How long a page waits while files are put in place. Seconds.
WAIT = 5.0


def remove_unused(name: str) -> int:
    """Remove a file that neither a configuration nor a gallery record names; returns the bytes that became free.

    Whether it is used is looked at again, while nobody puts anything in place. Raises JobError.
    """
    with models_folder.changing(WAIT):
        place = _place(name)
        # By the name that others know it by: `a//b` is a/b, and folders may have a second name.
        name = place.relative_to(Path(settings.MODELS_PATH).resolve()).as_posix()
        _refuse_used(name)
        status = _status(place)
        _unlink(place)
        _remove_empty(place.parent)
    known_files.forget(name)
    disk.forget()
    return status.st_size if status.st_nlink == 1 else 0


def remove_suspect(name: str) -> int:
    """Remove a file that was kept aside; returns its bytes. Raises JobError."""
    last = name.removeprefix(SUSPECTS)
    if not name.startswith(SUSPECTS) or "/" in last:
        raise _gone(name)
    place = _place(name)
    size = _status(place).st_size
    _unlink(place)
    place.with_name(f"{place.name}{NOTE}").unlink(missing_ok=True)
    disk.forget()
    return size


def discard_partial(folder: str, by: AbstractBaseUser | None) -> None:
    """Give up the bytes of a job: one that waits or works is called off, a failed one put aside. Raises JobError."""
    try:
        job = Job.objects.filter(pk=UUID(folder)).first()
    except ValueError:
        raise _gone(folder) from None
    if job is not None and job.is_active:
        if not jobs.request_cancel(job, by):
            raise Conflict(f"It is too late to call {job} off.", "Wait until it has ended.")
    else:
        _discard_ended(folder, job, by)
    disk.forget()


def _discard_ended(folder: str, job: Job | None, by: AbstractBaseUser | None) -> None:
    """The folder gets another name first, in the transaction in which nobody can ask for another try."""
    place = Path(settings.MODELS_PATH) / INGEST / folder
    gone = place.with_name(f"given-up-{secrets.token_hex(8)}")
    if place.parent.is_symlink():
        raise _gone(folder)
    if job is not None and leftovers.in_commit(job):
        raise Conflict(f"{job} stopped while it put its files in place.", "Retry it first: that finishes or undoes it.")
    try:
        with transaction.atomic():
            if job is not None:
                jobs.dismiss(job, by)
                if not Job.objects.filter(pk=job.pk, state__in=ENDED).update(bytes_done=0):
                    raise Conflict(f"{job} was asked for again.", "Cancel it first.")
            place.rename(gone)
    except FileNotFoundError:
        raise _gone(folder) from None
    except OSError as error:
        raise _cannot(folder, error) from None
    shutil.rmtree(gone, ignore_errors=True)
    forget_ingest(settings.MODELS_PATH)


def _place(name: str) -> Path:
    """Where the file is; the place of a link is the link itself."""
    try:
        place = inside(Path(settings.MODELS_PATH), name)
    except UnsafePath as error:
        raise StillUsed(str(error), "Look at the folder.") from None
    if not os.path.lexists(place) or (place.is_dir() and not place.is_symlink()):
        raise _gone(name)
    return place


def _refuse_used(name: str) -> None:
    users = inventory.file_users([name]).get(name, [])
    if users:
        raise StillUsed(f"{name} is used by {', '.join(users)}.", "Delete that model instead.")
    if name.startswith(".") or name in inventory.config_folder().ignored:
        raise StillUsed(f"{name} is kept for the console itself.", "Leave it where it is.")
    if is_loose(name):
        raise StillUsed(f"{name} is listed as a model of its own.", "Delete it as a model: then it is shut down first.")


def _status(place: Path) -> os.stat_result:
    try:
        return place.lstat()
    except OSError:
        raise _gone(place.name) from None


def _unlink(place: Path) -> None:
    try:
        place.unlink()
    except OSError as error:
        raise _cannot(place.name, error) from None


def _remove_empty(folder: Path) -> None:
    root = Path(settings.MODELS_PATH).resolve()
    try:
        while folder != root:
            folder.rmdir()
            folder = folder.parent
    except OSError:
        return  # Something else is in it.


def _gone(name: str) -> StillUsed:
    return StillUsed(f"{name} is not there any more.", "Look at the page again.")


def _cannot(name: str, error: OSError) -> CannotDelete:
    return CannotDelete(f"{name} cannot be removed: {error.strerror}.", "Check the rights on the models folder.")
