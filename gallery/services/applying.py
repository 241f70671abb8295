"""Installing everything a list names, as LocalAI's PRELOAD_MODELS does, with an answer for each of its items.

An explicit list goes without plans: whoever wrote it has decided. What is here already is left as it is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from gallery.catalog import wishes, written
from gallery.catalog.errors import CatalogError, ImportRefused
from gallery.downloads.errors import DownloadError
from gallery.models import Job
from gallery.services import importing, installs, jobs, outside
from gallery.services.errors import JobError
from gallery.states import Kind
from localai_admin.lib.paths import file_name_for_model, is_model_name
from models import inventory

STARTED, UNDER_WAY, HERE, REFUSED = "started", "under way", "here", "refused"

_WHAT = "a list of models, each a map with id, url, config_file, overrides or files"
_EXPECTED = 'Expected is a list such as [{"id": "localai@phi-2"}, {"url": "https://…/model.yaml", "name": "x"}].'
#: A list that is longer is refused: items, and bytes.
MAX_ITEMS = 500
MOST = written.MAX_BYTES


class ListRefused(ImportRefused):
    """It is no list of models at all."""

    cause = "list"


@dataclass(frozen=True)
class Outcome:
    """What became of item `number`, counted from 1: its job, or why there is none.

    `is_missing` tells that no gallery has the entry it names; one that is read later may.
    """

    number: int
    name: str
    result: str
    sentence: str
    job: Job | None = None
    is_missing: bool = False

    @property
    def is_refused(self) -> bool:
        return self.result == REFUSED


def apply_from_string(text: str | bytes, by: AbstractBaseUser | None, seconds: float | None = None) -> list[Outcome]:
    """Ask for every model of a list in JSON or YAML; one that is no good does not stop the others.

    Addresses without a name are asked for one, all of them together within `seconds`. Raises ListRefused.
    """
    return apply_items(items_of(text), by, seconds)


def apply_from_file(path: Path, by: AbstractBaseUser | None) -> list[Outcome]:
    """The same of a file. Raises ListRefused."""
    return apply_from_string(read_file(path), by)


def read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST + 1)
    except OSError as error:
        raise ListRefused(f"The file {path} cannot be read: {error.strerror}.", "Check the path.") from None


def items_of(text: str | bytes) -> list[Any]:
    """The items of a list, not looked at yet. Raises ListRefused, which says what was expected."""
    try:
        content = written.read(text, _WHAT)
    except ImportRefused as error:
        raise ListRefused(str(error), _EXPECTED) from None
    if not isinstance(content, list):
        raise ListRefused(f"This is {_kind(content)} instead of a list of models.", _EXPECTED)
    if wishes.is_index(content):
        raise ListRefused(
            f"This is a gallery's index with {len(content):,} entries, not a list of what to install.",
            "Add its address under Galleries, and name the entries you want by their id.",
        )
    if len(content) > MAX_ITEMS:
        raise ListRefused(f"The list has {len(content):,} items; {MAX_ITEMS} are allowed.", "Split it.")
    return content


def apply_items(items: list[Any], by: AbstractBaseUser | None, seconds: float | None = None) -> list[Outcome]:
    end = None if seconds is None else time.monotonic() + seconds

    def left() -> float:
        return outside.SECONDS if end is None else max(0.0, min(outside.SECONDS, end - time.monotonic()))

    return [apply_item(number, item, by, left) for number, item in enumerate(items, start=1)]


def apply_item(
    number: int, item: object, by: AbstractBaseUser | None, left: Callable[[], float] = lambda: outside.SECONDS
) -> Outcome:
    """Ask for one item; whatever is wrong with it is its outcome."""
    name = wishes.called(item)
    try:
        wish = wishes.wish_from(item)
        if wish.name and is_here(wish.name):
            return Outcome(number, wish.name, HERE, "It is on this host already, and stays as it is.")
        request = importing.of_wish(wish, seconds=left())
        name = request["name"]
        return _asked(number, name, request, by)
    except importing.EntryUnknown as error:
        return Outcome(number, name, REFUSED, f"{error} {error.action}", is_missing=True)
    except (JobError, CatalogError, DownloadError) as error:
        return Outcome(number, name, REFUSED, f"{error} {error.action}".strip())


def is_here(name: str) -> bool:
    """Whether a model of the name is on this host, or files that were installed under it."""
    if not is_model_name(name):
        return False
    if inventory.config_folder().get(name) is not None:
        return True
    return (Path(settings.MODELS_PATH) / f"._gallery_{file_name_for_model(name)}.yaml").exists()


def _asked(number: int, name: str, request: dict[str, Any], by: AbstractBaseUser | None) -> Outcome:
    if is_here(name):
        return Outcome(number, name, HERE, "It is on this host already, and stays as it is.")
    before = jobs.active(Kind.INSTALL, name)
    job = installs.request(request, by)
    if before is not None and before.pk == job.pk:
        return Outcome(number, name, UNDER_WAY, "It is being installed already.", job)
    return Outcome(number, name, STARTED, "A job installs it.", job)


def _kind(content: object) -> str:
    if content is None:
        return "null"
    return "a map" if isinstance(content, dict) else "a single value"
