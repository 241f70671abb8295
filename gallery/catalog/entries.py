"""Entries of a gallery's index, read from what people have really written there."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gallery.catalog import documents
from gallery.catalog.errors import CatalogError
from gallery.catalog.summaries import summary_of
from gallery.downloads.specs import FileSpec
from localai_admin.lib.paths import is_model_name

MAX_INDEX_BYTES = 64 << 20
_MAX_TAG = 100
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)


@dataclass(frozen=True)
class CatalogEntry:
    """A model that can be installed. `size` is bytes, where the index says; `raw` is the entry as written.

    `urls` and `icon` are http, https or mailto only. `url` is the address of a recipe, empty when there is none, and
    `config_file` counts only then. `variants` are names of other entries. `backend` is empty when nothing says it.
    """

    name: str
    description: str
    summary: str
    license: str
    icon: str
    urls: tuple[str, ...]
    tags: tuple[str, ...]
    usecases: tuple[str, ...]
    backend: str
    size: int | None
    url: str
    config_file: dict[str, Any] | None
    overrides: dict[str, Any]
    files: tuple[FileSpec, ...]
    variants: tuple[str, ...]
    raw: dict[str, Any]


@dataclass(frozen=True)
class Index:
    """Entries in the order of the index; what was left out, by its place from 0, with the reason."""

    entries: tuple[CatalogEntry, ...]
    skipped: tuple[tuple[int, str], ...]


def parse_index(data: bytes) -> Index:
    """The entries of an index.yaml. Raises CatalogError when it is no list of entries; odd entries are kept.

    Of several entries with one name the first is kept.
    """
    content = documents.load(data, "a gallery's index", MAX_INDEX_BYTES)
    if not isinstance(content, list):
        raise CatalogError(f"This is not a gallery's index: it is {documents.kind(content)}, and an index is a list.")
    entries: dict[str, CatalogEntry] = {}
    skipped = []
    for position, item in enumerate(content):
        try:
            entry = entry_from(item)
        except CatalogError as error:
            skipped.append((position, str(error)))
            continue
        if entry.name in entries:
            skipped.append((position, f"There is an entry called {entry.name} before it."))
        else:
            entries[entry.name] = entry
    return Index(tuple(entries.values()), tuple(skipped))


def entry_from(item: object) -> CatalogEntry:
    """An entry from plain data, also from its `raw`. Raises CatalogError when it has no name that a model can have."""
    if not isinstance(item, dict):
        raise CatalogError(f"It is {documents.kind(item)} instead of a map.")
    name = documents.text(item.get("name"))
    if not name:
        raise CatalogError("It has no name.")
    if not is_model_name(name):
        raise CatalogError(f"Its name {name[:100]!r} is no name that files can have.")
    description = documents.text(item.get("description"))
    config = documents.mapping(item.get("config_file")) or None
    overrides = documents.mapping(item.get("overrides"))
    return CatalogEntry(
        name=name,
        description=description,
        summary=summary_of(description),
        license=documents.text(item.get("license"))[:255],
        icon=next(iter(_links(item.get("icon"))), "")[:2000],
        urls=_links(item.get("urls")),
        tags=tuple(tag for tag in documents.texts(item.get("tags")) if len(tag) <= _MAX_TAG),
        usecases=_usecases(overrides) or _usecases(config or {}),
        backend=_first_text("backend", item, overrides, config or {})[:100],
        size=parse_size(item.get("size")),
        url=documents.text(item.get("url")),
        config_file=config,
        overrides=overrides,
        files=files_of(item.get("files")),
        variants=_variants(item.get("variants")),
        raw=item,
    )


def to_line(entry: CatalogEntry) -> str:
    """The entry as one line of JSON, for `from_line` in another process."""
    return json.dumps(vars(entry), default=asdict)


def from_line(line: str | bytes) -> CatalogEntry:
    data = json.loads(line)
    files = tuple(FileSpec(**file) for file in data.pop("files"))
    lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    return CatalogEntry(**{**data, **lists}, files=files)


def files_of(value: object) -> tuple[FileSpec, ...]:
    """The files of an entry or a recipe, as written: a missing part is empty, and is refused when it is installed."""
    items = value if isinstance(value, list) else []
    return tuple(
        FileSpec(
            documents.text(item.get("filename")),
            documents.text(item.get("sha256")).lower(),
            documents.text(item.get("uri")),
            _exact(item.get("size")),
        )
        for item in items
        if isinstance(item, dict)
    )


def parse_size(value: object) -> int | None:
    """Bytes of 14.5GB (decimal), 1.5 GiB (binary) or a plain number; None for anything else."""
    match = _SIZE.fullmatch(documents.text(value))
    if not match:
        return None
    number, unit, binary = match.groups()
    power = " kmgtp".index(unit.lower() or " ")
    size = round(float(number) * (1024 if binary else 1000) ** power)
    return size if 0 < size < 2**63 else None


def _exact(value: object) -> int | None:
    """Bytes of a file, where they are said to the byte."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _links(value: object) -> tuple[str, ...]:
    return tuple(link for link in documents.texts(value) if link.lower().startswith(("https://", "http://", "mailto:")))


def _usecases(config: Mapping[str, Any]) -> tuple[str, ...]:
    found = documents.texts(config.get("known_usecases"))
    return tuple(dict.fromkeys(usecase.lower().removeprefix("flag_") for usecase in found))


def _first_text(key: str, *maps: Mapping[str, Any]) -> str:
    return next((found for data in maps if (found := documents.text(data.get(key)))), "")


def _variants(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else []
    return documents.texts([item.get("model") if isinstance(item, dict) else item for item in items])
