"""What an earlier revision had goes out of the way, not away: into a folder from which it can come back.

It is done once the new one is in place, and can be done again after an interruption: nothing is moved twice.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from gallery.downloads.places import INGEST
from gallery.downloads.state import Keep, Move
from localai_admin.lib.files import fsync_dir
from localai_admin.lib.paths import UnsafePath, inside

log = logging.getLogger(__name__)


def planned(job: str, moves: Sequence[Move], retired: Iterable[str], keep_in: str) -> list[Keep]:
    """What is kept in the folder `keep_in`: whatever the moves replace, and files that nobody uses any more."""
    replaced = [Keep(f"{INGEST}/{job}/{move.backup}", f"{keep_in}/{move.target}") for move in moves]
    return replaced + [Keep(name, f"{keep_in}/{name}") for name in retired]


def keep(models: Path, keeps: Sequence[Keep]) -> None:
    """What cannot be moved is only logged: the new revision is in place, and does not need it."""
    for one in keeps:
        try:
            _keep(models, one)
        except (OSError, UnsafePath) as error:
            log.warning("%s is not kept for a way back: %s", one.target, error)
    _sync(models, keeps)


def _keep(models: Path, one: Keep) -> None:
    source, target = inside(models, one.source), inside(models, one.target)
    if not source.is_symlink() and not source.exists():
        return  # Nothing was replaced, or it was moved before the interruption.
    if target.exists():
        return  # Moved before the interruption; what has the name now is somebody else's.
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.rename(target)
    _tidy(source.parent, models)


def _tidy(folder: Path, models: Path) -> None:
    """A folder of the models folder that has nothing in it any more."""
    try:
        while folder != models.resolve() and INGEST not in folder.parts:
            folder.rmdir()
            folder = folder.parent
    except OSError:
        return


def _sync(models: Path, keeps: Sequence[Keep]) -> None:
    for folder in sorted({(models / one.target).parent for one in keeps} | {models}):
        if folder.is_dir():
            fsync_dir(folder)
