"""Which entries of the galleries are on this host, and as which models.

An entry is installed when something was installed from it and is still there: a configuration of the same name that
somebody wrote is a stranger.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q

from gallery import records
from gallery.models import Revision
from gallery.records import Records
from localai_admin.lib.plain import list_at
from models import inventory

#: Where a record does not say which gallery it is of, it may be any.
ANY = ""
#: A folder that changed so shortly before it was read may have changed again without a newer date. Nanoseconds.
_RACY = 2_000_000_000


@dataclass(frozen=True)
class Installed:
    """Names of models by (gallery, entry); the gallery is `ANY` for what LocalAI installed itself."""

    models: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    #: Names of entries that are installed, from whichever gallery.
    names: frozenset[str] = frozenset()
    #: What `state` said when this was worked out.
    state: object = None

    def is_installed(self, gallery: str, entry: str) -> bool:
        return (gallery, entry) in self.models or (ANY, entry) in self.models

    def models_of(self, gallery: str, entry: str) -> tuple[str, ...]:
        """The models that were installed from an entry, by name."""
        return tuple(sorted({*self.models.get((gallery, entry), ()), *self.models.get((ANY, entry), ())}))

    def names_in(self, gallery: str) -> frozenset[str]:
        """Names of the gallery's entries that are installed, and of those that may be of any gallery."""
        return frozenset(entry for of, entry in self.models if of in (gallery, ANY))


def entries_here() -> Installed:
    """Everything that is installed. One query; worked out anew when the models folder or a revision has changed."""
    folder = Path(settings.MODELS_PATH)
    key = state()
    with _lock:
        kept = _kept.get(folder)
    if kept and kept[0] == key:
        return kept[1]
    found = _work_out(folder, key)
    if time.time_ns() - key[0] > _RACY:
        with _lock:
            _kept[folder] = (key, found)
    return found


def state() -> tuple[int, object]:
    """Equal for as long as nothing was installed, updated or deleted. One query."""
    try:
        changed = os.stat(settings.MODELS_PATH).st_mtime_ns  # noqa: PTH116  (asked on every page)
    except OSError:
        changed = 0
    numbers = Revision.objects.on_this_node().aggregate(
        last=Max("pk"), current=Count("pk", filter=Q(is_current=True)), replaced=Max("replaced_at")
    )
    return changed, tuple(numbers.values())


def lacks_files(model: str, entry: Mapping[str, Any]) -> bool:
    """Whether LocalAI's record of a model lacks a file of the entry, or has it with another digest."""
    folder, stem = Path(settings.MODELS_PATH), model.replace("/", "__")
    if records.mentions(folder, stem, entry):
        return False
    told = {
        file.get("filename"): file for file in list_at(records.read(folder, stem), "files") if isinstance(file, dict)
    }
    for file in list_at(entry, "files"):
        if isinstance(file, dict) and (name := file.get("filename")):
            known = told.get(name)
            if known is None or _differs(known.get("sha256"), file.get("sha256")):
                return True
    return False


def _differs(known: object, offered: object) -> bool:
    return bool(known and offered) and str(known).lower() != str(offered).lower()


_lock = Lock()
_kept: dict[Path, tuple[tuple[int, object], Installed]] = {}


@lru_cache(maxsize=8)
def _records(folder: Path) -> Records:
    return Records(folder)


def _work_out(folder: Path, state: object) -> Installed:
    models: dict[tuple[str, str], list[str]] = defaultdict(list)
    for gallery, entry, model in _found(folder):
        models[gallery, entry].append(model)
    return Installed(
        {key: tuple(sorted(names)) for key, names in models.items()}, frozenset(entry for _, entry in models), state
    )


def _found(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(gallery, entry, model) of everything installed: from its revision, or else from LocalAI's record."""
    reader = _records(folder)
    listing = reader.look()
    rows = _rows()
    names = {config.path.stem: config.name for config in inventory.config_folder().all()} if listing.records else {}
    for stem, digest in listing.records.items():
        row = rows.get(stem)
        if row and row[0] == digest:
            _, name, gallery, entry, configured = row
            if gallery and (stem in listing.configs or not configured):
                yield gallery, entry, name
        elif stem in listing.configs or not reader.data(stem, digest).get("config_file"):
            for entry in reader.entries(stem, digest):
                yield ANY, entry, names.get(stem, stem)


def _rows() -> dict[str, tuple[str, str, str, str, bool]]:
    """By the stem of the files' names: digest of the record, model, gallery, entry, and whether it has a config."""
    current = Revision.objects.on_this_node().current()
    rows = current.values_list("record_digest", "name", "gallery", "entry", "configured").order_by()
    return {row[1].replace("/", "__"): row for row in rows}
