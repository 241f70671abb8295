"""What jobs leave on the disk while they are not done, and who takes it away."""

import logging
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings

from gallery.downloads.errors import DownloadError
from gallery.downloads.places import INGEST, forget_ingest
from gallery.downloads.state import State as IngestState
from gallery.downloads.store import Ingest
from gallery.models import Job, Plan
from gallery.services import exchange, models_folder
from gallery.states import Kind, State

log = logging.getLogger(__name__)

#: The bytes of a failed job wait this long for a retry; so do those of a job that nobody knows.
KEPT = timedelta(days=7)
_WITH_FOLDER = frozenset({Kind.INSTALL, Kind.ROLLBACK})


def discard(job: Job) -> None:
    """Remove the bytes of a job that was called off. Only when nobody works on it."""
    if job.kind in _WITH_FOLDER and _folder(job).exists():
        _discard_ingest(str(job.pk))
    if job.kind == Kind.STARTER:
        shutil.rmtree(settings.STARTER_PATH / ".packages", ignore_errors=True)


def settle(job: Job) -> None:
    """End half of a commit, if a worker died in one: undo it, or record it. Only when nobody works on the job."""
    if in_commit(job):
        try:
            with models_folder.changing():
                ingest = Ingest(settings.MODELS_PATH, str(job.pk))
            if ingest.committed:
                exchange.record(job, ingest.folder)
        except DownloadError as error:
            log.warning("The commit of job %s could not be undone: %s", job.pk, error)


def in_commit(job: Job) -> bool:
    """Whether a worker died while it put the job's files in place: then it is too late to call the job off."""
    if job.kind not in _WITH_FOLDER:
        return False
    state = IngestState.load(_folder(job) / "state.json")
    return bool(state.moves) or state.committed


def sweep(now: datetime) -> list[str]:
    """Remove the bytes of jobs that will not need them any more. Returns the names of the folders that went.

    Plans that old go, too: what they say has long changed.
    """
    Plan.objects.filter(created_at__lt=now - KEPT).delete()
    gone = []
    for folder in _folders():
        if _is_old(folder, now) if (job := _job_of(folder)) is None else _is_over(job, now):
            gone.append(folder.name)
            _discard_ingest(folder.name)
    # A worker may have died just before it did that.
    forget_ingest(settings.MODELS_PATH)
    return gone


def _folder(job: Job) -> Path:
    path: Path = settings.MODELS_PATH / INGEST / str(job.pk)
    return path


def _folders() -> list[Path]:
    root: Path = settings.MODELS_PATH / INGEST
    if root.is_symlink() or not root.is_dir():
        return []
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]


def _job_of(folder: Path) -> Job | None:
    try:
        return Job.objects.filter(pk=UUID(folder.name)).first()
    except ValueError:
        return None


def _is_over(job: Job, now: datetime) -> bool:
    if job.state in {State.DONE, State.CANCELLED}:
        return True
    ended = job.finished_at or job.changed_at
    return job.has_failed and (job.dismissed or ended < now - KEPT)


def _is_old(folder: Path, now: datetime) -> bool:
    return folder.stat().st_mtime < (now - KEPT).timestamp()


def _discard_ingest(name: str) -> None:
    try:
        Ingest(settings.MODELS_PATH, name).discard()
    except ValueError:
        # A folder of suspects: bytes that were not what they should be.
        shutil.rmtree(settings.MODELS_PATH / INGEST / name, ignore_errors=True)
    except DownloadError as error:
        log.warning("The bytes of job %s could not be removed: %s", name, error)
