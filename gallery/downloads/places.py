"""Where files may be put in the models folder."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from gallery.downloads.errors import NameTaken, UnsafeName
from gallery.downloads.faults import local_faults
from localai_admin.lib.paths import inside, same_name_key

#: The folder of downloads, inside the models folder so that a file goes to its place in one step.
INGEST = ".ingest"
#: The folder of what earlier revisions of models had: `<model>/<number>/`, in it the names of the models folder.
PREVIOUS = ".previous"
_TRIES = 100
_RECORD_PREFIX = "._gallery_"


def make_ingest(models: Path, job_id: str) -> Path:
    """The folder of a job, which may be there already. Raises OSError."""
    folder = models / INGEST / job_id
    for left in reversed(range(_TRIES)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            break
        except (FileNotFoundError, FileExistsError):
            # A job that ends at this moment may have taken the empty folder above away again.
            if not left:
                raise
    return folder


def forget_ingest(models: Path) -> None:
    """Take the folder of all jobs away when it is empty."""
    with suppress(OSError):
        (models / INGEST).rmdir()


def of_file(models: Path, name: str) -> Path:
    """The place of a file that a gallery names. Raises UnsafeName, NameTaken, LocalFault."""
    place = of_text(models, name)
    if place.name.lower().startswith(_RECORD_PREFIX):
        raise _kept(name)
    return place


def of_text(models: Path, name: str) -> Path:
    """The place of a file that the console writes itself: a configuration, a template, a record of a gallery."""
    with local_faults(name):
        place, parts = inside(models, name), PurePosixPath(name).parts
        if parts[0].lower() in {INGEST, PREVIOUS}:
            raise _kept(name)
        if not os.path.lexists(place):
            _refuse_look_alike(models, parts)
        if place.is_dir():
            raise NameTaken(f"{name} is a folder in the models folder.")
    return place


def _kept(name: str) -> UnsafeName:
    return UnsafeName(f"The file name {name!r} is kept for the console itself.")


def refuse_twins(names: Iterable[str]) -> None:
    """Raise NameTaken when two of the names cannot be told apart."""
    seen: dict[str, str] = {}
    for name in names:
        key = same_name_key(name)
        if key in seen:
            raise NameTaken(f"The entry has {name} and {seen[key]}, which cannot be told apart in one folder.")
        seen[key] = name


def _refuse_look_alike(folder: Path, parts: Sequence[str]) -> None:
    """A name beside the wanted one that some file systems, or a person, cannot tell from it."""
    for part in parts:
        if not folder.is_dir():
            return
        key = same_name_key(part)
        for other in os.listdir(folder):  # noqa: PTH208  (names are wanted, and there can be ten thousand)
            if other != part and same_name_key(other) == key:
                raise NameTaken(f"The models folder has {other}, which cannot be told from {part} everywhere.")
        folder /= part
