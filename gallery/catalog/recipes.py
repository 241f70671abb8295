"""From an entry, the recipe it points to and a person's wishes to what is written into the models folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gallery.catalog import configurations, documents
from gallery.catalog.entries import CatalogEntry, files_of
from gallery.catalog.errors import RecipeError
from gallery.downloads import digest
from gallery.downloads.specs import FileSpec
from localai_admin.lib import yaml
from localai_admin.lib.paths import UnsafePath, file_name_for_model, is_model_name, parts_of
from models.configs import merge

MAX_RECIPE_BYTES = 2 << 20


@dataclass(frozen=True)
class Recipe:
    """What the `url` of an entry leads to. `config_file` is a text of YAML; templates are pairs of name and content."""

    name: str = ""
    description: str = ""
    icon: str = ""
    license: str = ""
    urls: tuple[str, ...] = ()
    config_file: str = ""
    files: tuple[FileSpec, ...] = ()
    prompt_templates: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class InstallRecipe:
    """All that an installation brings. `config` is the model's configuration with everything merged.

    It is empty when the entry brings files alone: then no `<name>.yaml` is written. `gallery_file` is the record in
    `._gallery_<name>.yaml` that a deletion reads. `config_text` is how the configuration is written, where that is
    as a person has left it.
    """

    name: str
    config: dict[str, Any]
    files: tuple[FileSpec, ...]
    templates: tuple[tuple[str, str], ...] = ()
    gallery_file: dict[str, Any] = field(default_factory=dict)
    config_text: bytes = b""

    def texts(self) -> tuple[tuple[str, bytes], ...]:
        """File names and contents in the order in which they are put in place: the configuration comes last."""
        stem = file_name_for_model(self.name)
        written = [(name, content.encode()) for name, content in self.templates]
        written.append((f"._gallery_{stem}.yaml", yaml.dump(self.gallery_file).encode()))
        if self.config:
            written.append((f"{stem}.yaml", self.config_text or yaml.dump(self.config).encode()))
        return tuple(written)


def parse_recipe(data: bytes) -> Recipe:
    """The recipe in a document, or the one a configuration without any stands for. Raises CatalogError for neither."""
    content = documents.load(data, "a model's configuration", MAX_RECIPE_BYTES)
    if not isinstance(content, dict):
        raise RecipeError(f"This is not a model's configuration: it is {documents.kind(content)} instead of a map.")
    if configurations.is_configuration(content):
        return _of_configuration(content)
    config = content.get("config_file")
    if not isinstance(config, str | dict | None):
        raise RecipeError(f"The recipe's config_file is {documents.kind(config)}; it must be a text of YAML.")
    return Recipe(
        name=documents.text(content.get("name")),
        description=documents.text(content.get("description")),
        icon=documents.text(content.get("icon")),
        license=documents.text(content.get("license")),
        urls=documents.texts(content.get("urls")),
        config_file=yaml.dump(config) if isinstance(config, dict) else config or "",
        files=files_of(content.get("files")),
        prompt_templates=_templates(content.get("prompt_templates")),
    )


def _of_configuration(content: Mapping[str, Any]) -> Recipe:
    config, files = configurations.with_files(content)
    return Recipe(
        name=configurations.name_of(content),
        description=documents.text(content.get("description")),
        license=documents.text(content.get("license")),
        config_file=yaml.dump(config),
        files=files_of(files),
    )


def build(
    entry: CatalogEntry | None,
    recipe: Recipe | None,
    *,
    name: str | None = None,
    request_overrides: Mapping[str, Any] | None = None,
    request_files: Iterable[FileSpec] = (),
) -> InstallRecipe:
    """What to install, under `name` or else the name of the entry or the recipe. Raises RecipeError.

    Overrides of the request are laid on those of the entry, and both on the configuration. The chosen name is the
    name in the configuration, whatever the overrides say.
    """
    base = _base(entry, recipe)
    chosen = _name(name or (entry.name if entry else "") or base.name)
    overrides = merge(entry.overrides if entry else {}, request_overrides or {})
    config = _config(base.config_file)
    files = _files([*base.files, *request_files, *(entry.files if entry else ())])
    if not (config or overrides or files or base.prompt_templates):
        raise RecipeError(f"The entry {chosen} installs nothing: it has no configuration, no overrides and no files.")
    if config or overrides:
        config = {"name": chosen, **merge(config, overrides), "name": chosen}  # noqa: F601  (first, and last word)
    templates = tuple((_checked(f"{template}.tmpl"), content) for template, content in base.prompt_templates)
    return InstallRecipe(chosen, config, files, templates, _record(entry, base, chosen, files))


def with_files(recipe: InstallRecipe, files: Sequence[FileSpec]) -> InstallRecipe:
    """The recipe with these files, in its record as well, so that a deletion finds them. Raises RecipeError."""
    checked = _files(files)
    if checked == recipe.files:
        return recipe
    # What is only unpacked is not there afterwards, under this name.
    listed = [file for file in checked if not file.unpack]
    return replace(recipe, files=checked, gallery_file={**recipe.gallery_file, "files": _listed(listed)})


def _base(entry: CatalogEntry | None, recipe: Recipe | None) -> Recipe:
    """The recipe; without one, what the entry itself has."""
    if recipe or not entry:
        return recipe or Recipe()
    config = yaml.dump(entry.config_file) if entry.config_file else ""
    return Recipe(config_file=config, prompt_templates=_templates(entry.raw.get("prompt_templates")))


def _name(name: str) -> str:
    name = name.strip()
    if not is_model_name(name):
        raise RecipeError(
            f"{name[:100]!r} is no name for a model." if name else "The model has no name.",
        )
    return name


def _config(text: str) -> dict[str, Any]:
    try:
        content = yaml.load(text, max_bytes=MAX_RECIPE_BYTES, duplicate_keys="last")
    except yaml.YamlError as error:
        raise RecipeError(f"The config_file of the recipe is not YAML: {error}") from None
    if not isinstance(content, dict | None):
        raise RecipeError(f"The config_file of the recipe is {documents.kind(content)} instead of a map.")
    return content or {}


def _files(files: Sequence[FileSpec]) -> tuple[FileSpec, ...]:
    """Each file name once: of several the last one counts, as the last one downloaded would."""
    by_name = {_checked(file.filename): _checked_file(file) for file in files}
    return tuple(by_name.values())


def _checked_file(file: FileSpec) -> FileSpec:
    if not file.uri:
        raise RecipeError(f"The entry does not say where {file.filename} comes from.")
    try:
        return replace(file, sha256=digest.normal(file.sha256))
    except ValueError as error:
        raise RecipeError(f"The entry's digest of {file.filename} cannot be used: {error}") from None


def _checked(filename: str) -> str:
    try:
        parts_of(filename)
    except UnsafePath as error:
        raise RecipeError(str(error)) from None
    return filename


def _templates(value: object) -> tuple[tuple[str, str], ...]:
    items = value if isinstance(value, list) else []
    pairs = [(documents.text(item.get("name")), item.get("content")) for item in items if isinstance(item, dict)]
    return tuple((name, content) for name, content in pairs if name and isinstance(content, str))


def _listed(files: Iterable[FileSpec]) -> list[dict[str, str]]:
    return [{"filename": file.filename, "sha256": file.sha256, "uri": file.uri} for file in files]


def _record(entry: CatalogEntry | None, base: Recipe, name: str, files: Sequence[FileSpec]) -> dict[str, Any]:
    """LocalAI's record of an installation, without what is empty."""
    record = {
        "description": (entry.description if entry else "") or base.description,
        "icon": (entry.icon if entry else "") or base.icon,
        "license": (entry.license if entry else "") or base.license,
        "urls": list(dict.fromkeys([*base.urls, *(entry.urls if entry else ())])),
        "name": name,
        "config_file": base.config_file,
        "files": _listed(files),
        "prompt_templates": [{"name": template, "content": content} for template, content in base.prompt_templates],
        "entry_name": entry.name if entry else "",
    }
    return {key: value for key, value in record.items() if value}
