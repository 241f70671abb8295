"""What an entry says of itself, read with care: everything in it was written by somebody else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gallery.markdown import is_safe_link
from gallery.models import Entry
from localai_admin.lib.net import shown
from localai_admin.lib.plain import list_at, map_at
from models import configs

_DEPTH = 12
_SHOWN_LIST = 200


@dataclass(frozen=True)
class FileFacts:
    filename: str
    uri: str
    source: str
    sha256: str
    size: int | None


@dataclass(frozen=True)
class Link:
    address: str
    safe: bool


@dataclass(frozen=True)
class EntryFacts:
    """`settings_yaml` is what the entry sets in the configuration, as YAML; empty for nothing."""

    description: str
    links: list[Link]
    variants: list[str]
    files: list[FileFacts]
    without_digest: int
    total_size: int | None
    recipe: str
    settings_yaml: str
    context_size: int | None
    trusts_remote_code: bool


def facts(entry: Entry) -> EntryFacts:
    data = entry.data if isinstance(entry.data, Mapping) else {}
    files = list(_files(data))
    # What is written in the entry itself counts only when it names no recipe.
    own = {} if _text(data.get("url")) else map_at(data, "config_file")
    sets = configs.merge(own, map_at(data, "overrides"))
    context_size = sets.get("context_size")
    return EntryFacts(
        description=_text(data.get("description")),
        links=[Link(url, is_safe_link(url)) for url in map(_text, _list(data, "urls")) if url],
        variants=list(dict.fromkeys(filter(None, (_variant(item) for item in _list(data, "variants"))))),
        files=files,
        without_digest=sum(not file.sha256 for file in files),
        total_size=_total(entry.size, files),
        recipe=_text(data.get("url")),
        settings_yaml=_yaml(sets),
        context_size=context_size if isinstance(context_size, int) and context_size > 0 else None,
        trusts_remote_code=trusts_remote_code(sets),
    )


def _files(data: Mapping[str, Any]) -> Iterator[FileFacts]:
    for item in _list(data, "files"):
        if isinstance(item, Mapping):
            uri, size = _text(item.get("uri")), item.get("size")
            yield FileFacts(
                filename=_text(item.get("filename")) or uri.rpartition("/")[2],
                uri=shown(uri),
                source=source_of(uri),
                sha256=_text(item.get("sha256")),
                size=size if isinstance(size, int) and size >= 0 else None,
            )


def source_of(uri: str) -> str:
    """Where a file comes from, in a word or two: Hugging Face owner/repo, or a host."""
    scheme, _, rest = uri.partition("://")
    if rest.startswith("huggingface.co/"):
        scheme, rest = "huggingface", rest.removeprefix("huggingface.co/")
    if scheme in ("huggingface", "hf"):
        return "Hugging Face " + "/".join(rest.split("/")[:2])
    if scheme == "file":
        return "this host"
    try:
        return urlsplit(uri).hostname or scheme
    except ValueError:
        return scheme


def _total(said: int | None, files: list[FileFacts]) -> int | None:
    """What the gallery says, else the sum of the files when every one of them has a size."""
    sizes = [file.size for file in files]
    if said is not None or not sizes or None in sizes:
        return said
    return sum(size for size in sizes if size is not None)


def _variant(item: object) -> str:
    return _text(item.get("model")) if isinstance(item, Mapping) else _text(item)


def _yaml(sets: Mapping[str, Any]) -> str:
    return configs.render(sets) if sets else ""


def trusts_remote_code(value: object, depth: int = _DEPTH) -> bool:
    """Whether the backend would run code that comes with the model."""
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        return value.get("trust_remote_code") is True or any(
            trusts_remote_code(item, depth - 1) for item in value.values()
        )
    if isinstance(value, list):
        return any(trusts_remote_code(item, depth - 1) or item == "trust_remote_code:true" for item in value)
    return False


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    return list_at(data, key)[:_SHOWN_LIST]
