"""Putting files in place so that either all of them are, or none is: also when the machine stops in the middle.

The moves are written down before the first is made. A move keeps what was in its place, makes the file appear in one
step, and can be told from one that was not made: its source is gone.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gallery.downloads.places import PREVIOUS
from gallery.downloads.state import Move
from localai_admin.lib.files import fsync_dir
from localai_admin.lib.paths import inside


def place(folder: Path, models: Path, moves: Sequence[Move], made: Sequence[str]) -> None:
    """Make the moves in order; what the last one brings makes the others count.

    Raises OSError and UnsafePath, possibly after some of the moves: then look whether it is complete, or take back.
    """
    for name in made:
        inside(models, name).mkdir(mode=0o755, exist_ok=True)
    for move in moves[:-1]:
        _make(folder, models, move)
    _sync(models, moves, made)
    for move in moves[-1:]:
        _make(folder, models, move)
    _sync(models, moves[-1:], ())


def is_complete(folder: Path, moves: Sequence[Move]) -> bool:
    """Whether the last of the moves was made."""
    return bool(moves) and not _there(_source(folder, moves[-1]))


def take_back(folder: Path, models: Path, moves: Sequence[Move], made: Sequence[str]) -> None:
    """Undo the moves that were made, the last one first, and the folders made for them."""
    for move in reversed(moves):
        source, backup = _source(folder, move), folder / move.backup
        target = inside(models, move.target)
        if not _there(source) and _there(target):
            # What was there before comes back in one step: its place is empty at no time.
            _keep(target, source) if _there(backup) else target.rename(source)
        if _there(backup):
            backup.replace(target)
            # Two names of one file: then the replacing above has done nothing.
            backup.unlink(missing_ok=True)
    for name in reversed(made):
        with contextlib.suppress(OSError):
            inside(models, name).rmdir()
    _sync(models, moves, ())


def folders_to_make(models: Path, targets: Iterable[str]) -> list[str]:
    """Folders below the models folder that the targets need and that are not there, outer ones first."""
    missing: dict[str, None] = {}
    for target in targets:
        parts = target.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            if not (models / name).exists():
                missing[name] = None
    return list(missing)


def _make(folder: Path, models: Path, move: Move) -> None:
    target, backup = inside(models, move.target), folder / move.backup
    if _there(target):
        backup.unlink(missing_ok=True)
        _keep(target, backup)
    _source(folder, move).replace(target)


def _source(folder: Path, move: Move) -> Path:
    """The job's folder is two levels below the models folder."""
    return inside(folder.parent.parent, move.source) if move.source.startswith(f"{PREVIOUS}/") else folder / move.source


def _keep(target: Path, backup: Path) -> None:
    """A second name for what is in the way, so that its place is never empty; where links are not known, move it."""
    try:
        os.link(target, backup, follow_symlinks=False)
    except OSError:
        target.rename(backup)


def _sync(models: Path, moves: Iterable[Move], made: Iterable[str]) -> None:
    folders = {inside(models, move.target).parent for move in moves} | {(models / name).parent for name in made}
    for folder in sorted(folders):
        if folder.is_dir():
            fsync_dir(folder)


def _there(path: Path) -> bool:
    return os.path.lexists(path)
