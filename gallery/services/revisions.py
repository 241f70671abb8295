"""What is installed under a name, what another recipe would change of it, and what a person has changed since."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Max

from gallery import records
from gallery.catalog import differences
from gallery.catalog.differences import ABSENT, Edit
from gallery.catalog.recipes import InstallRecipe
from gallery.models import Entry, Revision
from gallery.services.errors import BadEntry
from localai_admin.lib.paths import file_name_for_model
from models import inventory, secrets
from models.configs import ConfigInvalid, ModelConfig, render, validate


def current(name: str) -> Revision | None:
    """What an install left under the name; None when there is no such model, or none that came from a gallery.

    A model that LocalAI installed itself, or this console before it kept revisions, gets a row that is not saved: its
    `recipe` says `unknown`, for nobody knows what its configuration was before people changed it.
    """
    folder, stem = Path(settings.MODELS_PATH), file_name_for_model(name)
    try:
        digest = records.digest_of(folder / f"{records.PREFIX}{stem}{records.SUFFIX}")
    except OSError:
        return None
    row = Revision.objects.on_this_node().current().filter(name=name).first()
    return row if row and row.record_digest == digest else _of_record(name, stem, digest)


def _of_record(name: str, stem: str, digest: str) -> Revision:
    data, config = records.read(Path(settings.MODELS_PATH), stem), config_now(name)
    files = list(_files_of(data))
    entry = records.entries_named(data, stem)[-1]
    return Revision(
        name=name,
        node=settings.NODE,
        number=next_number(name),
        entry=entry,
        gallery=_gallery_of(entry),
        record_digest=digest,
        configured=config is not None,
        recipe=plain(
            {
                "config": config.data if config else {},
                "files": files,
                "templates": list(_templates_of(data)),
                "gallery_file": data,
                "unknown": True,
            }
        ),
        bytes=sum(file["size"] or 0 for file in files),
        installed_at=_changed_at(stem),
    )


def _files_of(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for file in _maps(record.get("files")):
        if isinstance(name := file.get("filename"), str) and (size := size_here(name)) is not None:
            told = {key: str(file.get(key) or "") for key in ("uri", "sha256")}
            yield {"filename": name, "size": size, **told, "sha256": told["sha256"].lower()}


def _templates_of(record: Mapping[str, Any]) -> Iterator[list[str]]:
    for template in _maps(record.get("prompt_templates")):
        if isinstance(name := template.get("name"), str) and size_here(f"{name}.tmpl") is not None:
            yield [f"{name}.tmpl", str(template.get("content") or "")]


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _gallery_of(entry: str) -> str:
    """The gallery that has the entry, when it is the only one."""
    galleries = list(Entry.objects.shown().filter(name=entry).values_list("gallery__name", flat=True)[:2])
    return galleries[0] if len(galleries) == 1 else ""


def _changed_at(stem: str) -> datetime:
    path = Path(settings.MODELS_PATH) / f"{records.PREFIX}{stem}{records.SUFFIX}"
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def size_here(name: str) -> int | None:
    """Bytes of a file of the models folder; None when it is not there."""
    try:
        return (Path(settings.MODELS_PATH) / name).stat().st_size
    except (OSError, ValueError):
        return None


def next_number(name: str) -> int:
    last: int | None = Revision.objects.on_this_node().filter(name=name).aggregate(last=Max("number"))["last"]
    return (last or 0) + 1


def config_now(name: str) -> ModelConfig | None:
    """The configuration as it is now, when it is in the file that an install writes."""
    config = inventory.config_folder().get(name)
    return config if config and config.path.name == f"{file_name_for_model(name)}.yaml" else None


def edits(revision: Revision, recipe: InstallRecipe) -> list[Edit]:
    """What people have changed in the configuration since the install; nothing where that cannot be told."""
    config = config_now(revision.name)
    if config is None or revision.recipe.get("unknown"):
        return []
    return differences.edits(revision.recipe.get("config", {}), plain(config.data), plain(recipe.config))


def keeping_edits(revision: Revision | None, recipe: InstallRecipe) -> InstallRecipe:
    """The recipe with what people have changed in the configuration since. Raises BadEntry when that cannot be used.

    Where the file is not readable as it is, nobody can say what was changed: that is refused as well.

    A configuration that then says what it says already stays as it is written, with its comments.
    """
    if revision is None:
        return recipe
    _refuse_unreadable(revision)
    if not (made := edits(revision, recipe)):
        return recipe
    config = differences.with_edits(recipe.config, made)
    try:
        validate(config)
    except ConfigInvalid as error:
        raise BadEntry(
            f"What was changed by hand in the configuration does not go with the new one: {error}",
            "Take that back in the file, or install the model anew, which replaces the configuration.",
        ) from None
    now = config_now(revision.name)
    same = now is not None and now.data == config
    return replace(recipe, config=config, config_text=now.path.read_bytes() if now and same else b"")


def _refuse_unreadable(revision: Revision) -> None:
    file = f"{file_name_for_model(revision.name)}.yaml"
    for path, sentence in inventory.problems():
        if path.name == file:
            raise BadEntry(
                f"{file} is not used as it is, so that changes in it cannot be kept: {sentence}",
                "Correct the file, or install the model anew, which replaces it.",
            )


def difference(revision: Revision, recipe: InstallRecipe, *, keeps_edits: bool = True) -> dict[str, Any]:
    """What installing the recipe would change, as plain data that a page may show: secrets are masked.

    `revision` number (None when its age is unknown); `unknown`: whether changes by hand cannot be told apart; `files`:
    {added, removed: [{filename, uri, sha256, size}], changed: [{filename, before, after}]}; `config`: [{path, before,
    after}], texts of YAML, None where nothing is said; `by_hand`: [{path, installed, now, gallery, kept, contested}];
    `templates`: {added, removed, changed: names}; `backend`: {before, after} or None; `nothing`: whether all of it is
    empty.
    """
    made = edits(revision, recipe)
    after = differences.with_edits(recipe.config, made) if keeps_edits else recipe.config
    now = config_now(revision.name)
    before = plain(now.data) if now else {}
    files = differences.files(revision.recipe.get("files", []), recipe.files)
    old_templates = [(name, content) for name, content in revision.recipe.get("templates", [])]
    templates = differences.templates(old_templates, recipe.templates)
    config = list(_settings(before, plain(after)))
    backend = {"before": before.get("backend"), "after": after.get("backend")}
    return {
        "revision": revision.number if revision.pk else None,
        "unknown": bool(revision.recipe.get("unknown")),
        "files": files,
        "config": config,
        "by_hand": [_edit(edit, keeps_edits) for edit in made],
        "templates": templates,
        "backend": backend if backend["before"] != backend["after"] else None,
        "nothing": not (config or any(files.values()) or any(templates.values())),
    }


def between(before: Revision, after: Revision) -> dict[str, Any]:
    """What one revision changed of the one before it, as in `difference` without what was changed by hand."""
    files = differences.files(before.recipe.get("files", []), after.specs)
    templates = differences.templates(
        [(name, content) for name, content in before.recipe.get("templates", [])],
        [(name, content) for name, content in after.recipe.get("templates", [])],
    )
    config = list(_settings(before.recipe.get("config", {}), after.recipe.get("config", {})))
    nothing = not (config or any(files.values()) or any(templates.values()))
    return {"files": files, "config": config, "templates": templates, "nothing": nothing}


def _settings(before: dict[str, Any], after: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shown_before, shown_after = (differences.leaves(secrets.masked(config)) for config in (before, after))
    for one in differences.settings(before, after):
        yield {
            "path": ".".join(one.path),
            "before": _shown(one.before, shown_before.get(one.path, secrets.HIDDEN)),
            "after": _shown(one.after, shown_after.get(one.path, secrets.HIDDEN)),
        }


def _edit(edit: Edit, kept: bool) -> dict[str, Any]:
    def shown(value: Any) -> str | None:
        nested: Any = value
        for key in reversed(edit.path):
            nested = {key: nested}
        return _shown(value, differences.leaves(secrets.masked(nested)).get(edit.path, secrets.HIDDEN))

    return {
        "path": ".".join(edit.path),
        "installed": shown(edit.installed),
        "now": shown(edit.now),
        "gallery": shown(edit.new),
        "kept": kept,
        "contested": edit.is_contested,
    }


def _shown(value: Any, masked: Any) -> str | None:
    """As YAML writes it."""
    return None if value is ABSENT else render({"": masked}).partition(":")[2].strip()


def plain(data: Any) -> Any:
    """As it comes back from the database: numbers that JSON does not have become text."""
    return json.loads(json.dumps(data, default=str), parse_constant=str)
