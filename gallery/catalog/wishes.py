"""A model that is wished for in writing: a recipe, a configuration, or an entry as LocalAI's /models/apply has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gallery.catalog import configurations, documents, written
from gallery.catalog.errors import ImportRefused
from localai_admin.lib import yaml
from localai_admin.lib.net import shown
from models.configs import ConfigInvalid, validate

ENTRY, RECIPE, CONFIGURATION = "an entry", "a recipe", "a configuration"

_WAYS = "Give it a url, a config_file, overrides or files."
_TEXTS = ("id", "variant", "url", "config_url", "name", "license", "description", "icon")
_MAPS = ("overrides",)
_OF_AN_ENTRY = frozenset({"id", "url", "config_url", "overrides", "variant"})


@dataclass(frozen=True)
class Wish:
    """`id` names an entry of a gallery; then `overrides` and `files` are laid on it. Otherwise `described` says it all.

    `described` is an entry as an index would have it, without a name when none was given.
    """

    kind: str
    name: str = ""
    id: str = ""
    gallery: str = ""
    variant: str = ""
    described: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)


def read_one(text: str | bytes) -> Wish:
    """The one wish in a text. Raises ImportRefused, also for an index and for a list, and says where those go."""
    content = written.read(text, "a model's configuration, recipe or entry")
    refuse_list(content)
    return wish_from(content)


def refuse_list(content: object) -> None:
    """Raises ImportRefused when it is a list, which is something else than one model."""
    if not isinstance(content, list):
        return
    if is_index(content):
        raise ImportRefused(
            f"This is a gallery's index with {len(content):,} entries, not one model.",
            "Add its address under Galleries; its models are then found in the gallery.",
        )
    raise ImportRefused(
        f"This is a list of {len(content):,}, and one model is expected here.",
        "Apply it under List, or paste one of its items.",
    )


def is_index(content: object) -> bool:
    """Whether it looks like a gallery's index: a list of maps with what only entries of an index have."""
    marks = {"description", "tags", "urls", "icon", "license", "variants", "last_checked"}
    return isinstance(content, list) and any(
        isinstance(item, dict) and "name" in item and marks & item.keys() and "id" not in item for item in content[:50]
    )


def wish_from(item: object) -> Wish:
    """The wish in plain data. Raises ImportRefused, which names the field and what would be right."""
    if not isinstance(item, dict):
        raise ImportRefused(f"It is {documents.kind(item)} instead of a map.", f"Write `name: …` and more. {_WAYS}")
    if configurations.is_configuration(item):
        return _configuration(item)
    _check(item)
    name = documents.text(item.get("name"))
    files = _files(item.get("files"))
    described = {**item, "name": name, "files": files, "config_file": _config(item.get("config_file"))}
    described["url"] = documents.text(item.get("url")) or documents.text(item.get("config_url"))
    described = {key: value for key, value in described.items() if value and key not in {"config_url", "id", "variant"}}
    wish_id = documents.text(item.get("id"))
    if wish_id:
        return Wish(
            ENTRY, name, wish_id, _gallery(item.get("gallery")), documents.text(item.get("variant")),
            overrides=documents.mapping(item.get("overrides")), files=files,
        )  # fmt: skip
    if not any(described.get(key) for key in ("url", "config_file", "overrides", "files", "prompt_templates")):
        raise ImportRefused("It says nothing that could be installed.", _WAYS)
    kind = ENTRY if _OF_AN_ENTRY & item.keys() or isinstance(item.get("config_file"), dict) else RECIPE
    return Wish(kind, name, described=described)


def called(item: object) -> str:
    """What an item of a list may be called when it cannot be used, for a message; empty without a word for it."""
    words = (
        (documents.text(item.get(key)) for key in ("name", "id", "url", "config_url")) if isinstance(item, dict) else ()
    )
    return next((shown(word)[:200] if "://" in word else word[:200] for word in words if word), "")


def _configuration(config: Mapping[str, Any]) -> Wish:
    changed, files = configurations.with_files(config)
    try:
        validate(changed)
    except ConfigInvalid as error:
        raise ImportRefused(str(error)) from None
    described: dict[str, Any] = {"config_file": changed, "files": _files(files)}
    name = configurations.name_of(config)
    for key in ("description", "license"):
        if text := documents.text(config.get(key)):
            described[key] = text
    return Wish(CONFIGURATION, name, described={"name": name, **described} if name else described)


def _check(item: Mapping[str, Any]) -> None:
    for key in _TEXTS:
        if item.get(key) is not None and isinstance(item[key], dict | list):
            raise ImportRefused(f"{key} is {documents.kind(item[key])}.", "It must be a text.")
    for key in _MAPS:
        if not isinstance(item.get(key), dict | None):
            raise ImportRefused(f"{key} is {documents.kind(item[key])}.", "It must be a map of settings.")
    if "parameters" in item:
        raise ImportRefused(
            "parameters stands beside the files or the address of an entry, where nothing reads it.",
            "Move it into overrides or config_file.",
        )


def _config(value: object) -> dict[str, Any]:
    """The configuration of a recipe, a text of YAML, or of an entry, a map."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = yaml.load(value, max_bytes=written.MAX_BYTES, duplicate_keys="last") or {}
        except yaml.YamlError as error:
            raise ImportRefused(f"config_file is not YAML: {error}") from None
    if not isinstance(value, dict):
        raise ImportRefused(f"config_file is {documents.kind(value)}.", "It must be a map, or a text of YAML.")
    return value


def _files(value: object) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ImportRefused(f"files is {documents.kind(value)}.", "It must be a list with filename and uri each.")
    for number, file in enumerate(value, start=1):
        if not isinstance(file, dict):
            raise ImportRefused(f"Item {number} of files is {documents.kind(file)}.", "Give it a filename and a uri.")
        for key in ("filename", "uri"):
            if not documents.text(file.get(key)):
                raise ImportRefused(f"Item {number} of files has no {key}.", "Each needs a filename and a uri.")
    return value


def _gallery(value: object) -> str:
    return documents.text(value.get("name")) if isinstance(value, dict) else documents.text(value)
