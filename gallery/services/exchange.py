"""From one revision of a model to the next: what goes out of the way, and the row that tells of it.

What the row will say is written into the job's folder before anything is put in place, so that whoever finds the
commit done can write the row, also when the worker that made it died before it could.
"""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from gallery.catalog import differences
from gallery.catalog.recipes import InstallRecipe
from gallery.downloads.places import PREVIOUS
from gallery.models import Job, Revision
from gallery.services import kept, revisions
from localai_admin.lib.files import atomic_write, read_small
from localai_admin.lib.paths import file_name_for_model
from models import inventory
from models.deletion import NoSuchModel
from models.models import Instance
from models.references import referenced_files

log = logging.getLogger(__name__)

_NOTE = "revision.json"
_MOST_BYTES = 64 << 20
_AFTER = ("gallery", "entry", "entry_digest", "configured", "record_digest", "recipe")
_UNSAVED = ("number", "gallery", "entry", "configured", "record_digest", "recipe", "bytes")
_BEFORE_KEYS = {*_UNSAVED, "installed_at"}
_NOTE_KEYS = {"name", "before", "before_pk", "keep_in", "restored_in", "after"}


@dataclass(frozen=True)
class Origin:
    """Where an entry came from: its gallery, its name there, and its digest; empty when it is in no gallery."""

    gallery: str = ""
    entry: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Change:
    """What leaves its place: `retired` files that nobody needs any more, and the folder where it is kept."""

    retired: list[str]
    keep_in: str
    note: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Before anything is put in place. Raises OSError."""
        atomic_write(folder / _NOTE, json.dumps(self.note).encode(), 0o600)


def owned_by(name: str) -> frozenset[str]:
    """The files that an installation of the same name brought, and nobody else uses: they may be replaced."""
    try:
        return frozenset(file for file, _ in inventory.deletion_preview(name).files)
    except NoSuchModel:
        return frozenset()


def to_recipe(
    gallery_says: InstallRecipe,
    written: InstallRecipe,
    origin: Origin,
    *,
    overrides: Mapping[str, Any] | None,
    digests: Mapping[str, str],
) -> Change:
    """From what is there to a recipe: as the gallery has it, and as it is written with a person's own changes.

    `digests` are those of files by name, where the recipe has none.
    """
    name = written.name
    texts = dict(written.texts())
    files = [differences.plain(file) for file in written.files]
    recipe = {
        "config": gallery_says.config,
        "files": [file | {"sha256": file["sha256"] or digests.get(file["filename"], "")} for file in files],
        "templates": [list(template) for template in written.templates],
        "gallery_file": written.gallery_file,
        "overrides": dict(overrides or {}),
    }
    record = f"._gallery_{file_name_for_model(name)}.yaml"
    after = {
        "gallery": origin.gallery,
        "entry": origin.entry,
        "entry_digest": origin.digest,
        "configured": bool(written.config),
        "record_digest": sha256(texts[record]).hexdigest(),
        "recipe": revisions.plain(recipe),
    }
    stays = {*texts, *(file.filename for file in written.files), *referenced_files(written.config)}
    return _change(name, after, stays)


def to_kept(revision: Revision, names: Collection[str]) -> Change:
    """From what is there to an earlier revision, of which `names` are kept aside."""
    after = {field: getattr(revision, field) for field in _AFTER}
    after["recipe"] = {**revision.recipe, "back_to": revision.number}
    return _change(revision.name, after, {*names, *revision.brought}, restored_in=revision.kept_in)


def _change(name: str, after: dict[str, Any], stays: Collection[str], restored_in: str = "") -> Change:
    before = revisions.current(name)
    leaves = sorted((before.brought if before else frozenset()) & owned_by(name))
    keep_in = f"{PREVIOUS}/{file_name_for_model(name)}/{before.number}" if before else ""
    note = {
        "name": name,
        "before": _unsaved(before) if before and not before.pk else None,
        "before_pk": before.pk if before else None,
        "keep_in": keep_in,
        "restored_in": restored_in,
        "after": after,
    }
    return Change([file for file in leaves if not _is_among(file, stays)], keep_in, note)


def _unsaved(revision: Revision) -> dict[str, Any]:
    return {field: getattr(revision, field) for field in _UNSAVED} | {
        "installed_at": revision.installed_at.isoformat(),
    }


def _is_among(file: str, names: Collection[str]) -> bool:
    """The file itself, or a folder above it."""
    return file in names or any(parent.as_posix() in names for parent in Path(file).parents)


def record(job: Job, folder: Path) -> Revision | None:
    """Write the row of what the job has put in place, once. None when its folder does not tell.

    What was there before stays as it is when nothing of it was replaced: then nothing has changed.
    """
    note = _note_in(folder, job.subject)
    if note is None:
        return None
    revision = job.revisions.first() or _write(job, note)
    # Also when the row was written before an interruption.
    if note["restored_in"]:
        kept.clear(note["restored_in"])
    kept.prune(revision.name)
    return revision


def _note_in(folder: Path, name: str) -> dict[str, Any] | None:
    """The note in a job's folder; None when there is none, or one that this console did not write about the model."""
    try:
        note = json.loads(read_small(folder / _NOTE, _MOST_BYTES, folder))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("What is installed of %s is not recorded: its note cannot be read (%s).", name, error)
        return None
    if not _is_note(note, name):
        log.warning("What is installed of %s is not recorded: its note is not one of this console's.", name)
        return None
    return dict(note)


def _is_note(note: object, name: str) -> bool:
    """Others may write into the models folder: a note says what a row will say, and never which row or folder."""
    if not isinstance(note, dict) or note.keys() != _NOTE_KEYS or note["name"] != name:
        return False
    places = [note[key] for key in ("keep_in", "restored_in") if note[key] != ""]
    before, after = note["before"], note["after"]
    return (
        all(kept.is_place(name, place) for place in places)
        and (before is None or (isinstance(before, dict) and before.keys() == _BEFORE_KEYS))
        and isinstance(after, dict)
        and after.keys() == set(_AFTER)
        and _is_recipe(after["recipe"])
    )


def _is_recipe(recipe: object) -> bool:
    files = recipe.get("files") if isinstance(recipe, dict) else None
    return isinstance(files, list) and all(
        isinstance(file, dict) and isinstance(file.get("filename"), str) for file in files
    )


def _write(job: Job, note: Mapping[str, Any]) -> Revision:
    kept_bytes = kept.size_of(note["keep_in"])
    with transaction.atomic():
        before = _before(note)
        if before and kept_bytes is None and before.pk == note["before_pk"]:
            return _confirmed(before, note["after"])
        _replace(note, before, kept_bytes)
        if note["restored_in"]:
            mine = Revision.objects.on_this_node().filter(kept_in=note["restored_in"])
            mine.update(kept_in="", kept_bytes=0)
        return _create(job, note)


def _before(note: Mapping[str, Any]) -> Revision | None:
    if told := note["before"]:
        row: Revision | None = Revision(name=note["name"], node=settings.NODE, is_current=False, **told)
    else:
        mine = Revision.objects.on_this_node().filter(name=note["name"])
        row = mine.filter(pk=note["before_pk"]).first() if isinstance(note["before_pk"], int) else None
    return row


def _replace(note: Mapping[str, Any], before: Revision | None, kept_bytes: int | None) -> None:
    now = timezone.now()
    Revision.objects.on_this_node().current().filter(name=note["name"]).update(is_current=False, replaced_at=now)
    if before:
        before.is_current, before.replaced_at = False, now
        before.kept_in, before.kept_bytes = (note["keep_in"] if kept_bytes is not None else ""), kept_bytes or 0
        before.save()


def _create(job: Job, note: Mapping[str, Any]) -> Revision:
    after, name = note["after"], note["name"]
    files = [file | {"size": revisions.size_here(file["filename"])} for file in after["recipe"]["files"]]
    recipe = after["recipe"] | {"files": files}
    return Revision.objects.create(
        **{**after, "recipe": recipe},
        name=name,
        node=settings.NODE,
        number=revisions.next_number(name),
        bytes=sum(file["size"] or 0 for file in files),
        by=job.by,
        job=job,
    )


def _confirmed(current: Revision, after: Mapping[str, Any]) -> Revision:
    """Nothing was replaced: what is here is what the entry as it is now would bring."""
    recipe = {**current.recipe, "overrides": after["recipe"].get("overrides", {}), "config": after["recipe"]["config"]}
    current.gallery, current.entry, current.entry_digest = (after[key] for key in ("gallery", "entry", "entry_digest"))
    current.recipe = recipe
    current.save(update_fields=["gallery", "entry", "entry_digest", "recipe"])
    return current


def must_reload(name: str) -> str:
    """The end of a sentence: whether an instance still runs what was there before."""
    if Instance.objects.on_this_node().alive().filter(name=name).exists():
        return ". It runs the earlier one: shut it down and load it to use the new one"
    return ""
