"""From a request, as a job or a plan records it, to everything that an installation brings."""

from collections.abc import Mapping
from typing import Any

from gallery.catalog.entries import CatalogEntry, entry_from, files_of
from gallery.catalog.errors import CatalogError
from gallery.catalog.recipes import MAX_RECIPE_BYTES, InstallRecipe, Recipe, build, parse_recipe, with_files
from gallery.downloads.transport import Downloader
from gallery.models import Entry
from gallery.services.errors import BadEntry, EntryGone
from localai_admin.lib.net import shown
from models.configs import ConfigInvalid, validate


def resolve(request: Mapping[str, Any], transport: Downloader) -> InstallRecipe:
    """What is to be installed, checked as far as that can be done before anything is fetched.

    `request` has `name`, and `entry` (gallery@name) or `described` (an entry that is in no gallery), and perhaps
    `overrides` and `files`. Raises JobError, CatalogError and DownloadError.
    """
    return resolve_entry(entry_of(request), request, transport)


def resolve_entry(entry: CatalogEntry, request: Mapping[str, Any], transport: Downloader) -> InstallRecipe:
    """The same for an entry that was found already: no database is asked, so that any thread may do it."""
    base = _base(entry, transport)
    recipe = build(
        entry,
        base,
        name=request["name"],
        request_overrides=request.get("overrides"),
        request_files=files_of(request.get("files")),
    )
    if recipe.config:
        try:
            validate(recipe.config)
        except ConfigInvalid as error:
            raise BadEntry(
                f"The configuration of {recipe.name} cannot be used: {error}", "Tell those who keep the gallery."
            ) from None
    return with_files(recipe, transport.expand(recipe.files))


def entry_of(request: Mapping[str, Any]) -> CatalogEntry:
    """The entry a request is about. Raises EntryGone when its gallery no longer has it."""
    if described := request.get("described"):
        return entry_from(described)
    gallery, _, name = request["entry"].partition("@")
    entry = Entry.objects.filter(gallery__name=gallery, name=name).first()
    if entry is None:
        raise EntryGone(
            f"The gallery {gallery} has no entry {name} any more.", "Refresh the gallery, and choose another entry."
        )
    return entry_from(entry.data)


def _base(entry: CatalogEntry, transport: Downloader) -> Recipe | None:
    if not entry.url:
        return None
    body = transport.fetch(entry.url, limit=MAX_RECIPE_BYTES).body
    if body is None:
        raise CatalogError(f"{shown(entry.url)} answered with nothing.")
    return parse_recipe(body)
