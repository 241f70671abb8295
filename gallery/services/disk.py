"""What a page about the disk says: the models folder as of a moment ago, with what the database knows of it."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Max

from gallery.disk import report, walk
from gallery.disk.report import ModelUse, Report
from gallery.disk.usage import Listed, is_loose, users_of
from gallery.downloads.places import INGEST
from gallery.models import Job
from gallery.services import suspects
from gallery.states import ACTIVE, State
from localai_admin.lib.files import existing_parent
from models.inventory import config_folder
from models.models import Instance

#: A look at the folder is good for so long. Seconds.
FRESH = 10.0


@dataclass(frozen=True)
class Space:
    """The file system of the models folder, in bytes. `other` is what lies on it and is not in the folder."""

    used: int
    free: int
    reserve: int
    other: int

    @property
    def may_be_used(self) -> int:
        """Without what the system keeps for itself."""
        return self.used + self.free


@dataclass(frozen=True)
class Model:
    """A model with what it takes, and when it was last of use. One that is not valid has no page of its own."""

    use: ModelUse
    last_used_at: datetime | None
    has_page: bool
    can_be_deleted: bool


@dataclass(frozen=True)
class Partial:
    """The bytes of a job that is not done; `job` is None when nobody knows it any more."""

    folder: str
    bytes: int
    files: int
    job: Job | None

    @property
    def can_be_discarded(self) -> bool:
        return self.job is None or self.job.state in ACTIVE - {State.COMMITTING} or self.job.has_failed


_lock = Lock()
_kept: dict[Path, tuple[float, Report]] = {}


def look() -> Report:
    """The folder as it is, or was a few seconds ago: several people who look at once walk through it once."""
    root = Path(settings.MODELS_PATH)
    with _lock:
        at, found = _kept.get(root, (float("-inf"), Report()))
        if monotonic() - at > FRESH:
            found = _look(root)
            _kept[root] = (monotonic(), found)
        return found


def forget() -> None:
    """The folder was changed: the next look is a new one."""
    with _lock:
        _kept.clear()


def space(parts: report.Parts) -> Space:
    usage = shutil.disk_usage(existing_parent(Path(settings.MODELS_PATH)))
    return Space(usage.used, usage.free, settings.DISK_RESERVE, max(0, usage.used - parts.total))


def models(found: Report) -> list[Model]:
    """Every model with its last use: the last prompt, or else when it was last ready or changed. One query."""
    rows = Instance.objects.on_this_node().annotate(last_event_at=Max("events__at"))
    instances = {instance.name: instance for instance in rows}
    folder = config_folder()
    valid = {config.name for config in folder.all()}
    broken = {config.name for config in folder.rejected()} - valid
    return [
        Model(
            use,
            _last_use(instances.get(use.name)),
            has_page=use.name in valid or (use.name in found.files and is_loose(use.name)),
            can_be_deleted=use.name not in broken,
        )
        for use in found.models
    ]


def partials(found: Report) -> list[Partial]:
    """The folders of downloads, largest first. One query."""
    folders: dict[str, list[walk.Found]] = {}
    for name, file in found.files.items():
        if name.startswith(f"{INGEST}/") and not name.startswith(report.SUSPECTS) and name.count("/") > 1:
            folders.setdefault(name.split("/")[1], []).append(file)
    jobs = Job.objects.in_bulk([pk for folder in folders if (pk := _id(folder))])
    rows = [
        Partial(folder, sum(file.taken for file in files), _data_files(files), jobs.get(_id(folder)))
        for folder, files in folders.items()
    ]
    return sorted(rows, key=lambda row: (-row.bytes, row.folder))


def put_aside(found: Report) -> list[suspects.Suspect]:
    """Files that were not what they should be, the last one first."""
    return suspects.listed(file for name, file in found.files.items() if name.startswith(report.SUSPECTS))


def _look(root: Path) -> Report:
    found = walk.walk(root)
    return report.make(found, users_of(found, config_folder(), _listed(root).read(found)))


@lru_cache(maxsize=8)
def _listed(root: Path) -> Listed:
    return Listed(root)


def _last_use(instance: Any) -> datetime | None:
    if instance is None:
        return None
    moments: Iterable[datetime | None] = (instance.last_used_at, instance.ready_at)
    return max((moment for moment in moments if moment), default=instance.last_event_at)


def _data_files(files: Iterable[walk.Found]) -> int:
    return sum(1 for file in files if os.path.basename(file.name) != "state.json")  # noqa: PTH119


def _id(folder: str) -> UUID | None:
    try:
        return UUID(folder)
    except ValueError:
        return None
