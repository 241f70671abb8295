"""What a module of a scheme offers, what it may use, and the pieces that several of them need."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from gallery.downloads.errors import BadUri
from gallery.downloads.registries.client import Registries
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec

HUGGING_FACE = "https://huggingface.co"
_SAFE_IN_PATH = "/~!$&'()*+,;=:%"


def _endpoint(text: str) -> str:
    text = text.strip().rstrip("/") or HUGGING_FACE
    return text if "://" in text else f"https://{text}"


@dataclass(frozen=True)
class Settings:
    """What an administrator has chosen.

    `hf_endpoints` are Hugging Face's mirrors, the preferred one first; `hf_token` is for them alone. `file_roots` are
    the folders that file:// may read; `private` is one that it never reads as a part of a larger one.
    """

    hf_endpoints: tuple[str, ...] = (HUGGING_FACE,)
    hf_token: str = field(default="", repr=False)
    file_roots: tuple[Path, ...] = ()
    private: Path | None = None

    def __post_init__(self) -> None:
        endpoints = tuple(dict.fromkeys(map(_endpoint, self.hf_endpoints)))
        object.__setattr__(self, "hf_endpoints", endpoints or (HUGGING_FACE,))


@dataclass(frozen=True)
class Context:
    """What a scheme may use. Without `registries` nothing is asked of any registry: who wants no network has none."""

    settings: Settings
    registries: Registries | None = None

    def ask(self, uri: str) -> Registries:
        if self.registries is None:
            raise BadUri(
                f"The address {uri[:200]!r} is in a registry, which only the files of a model may be.",
                action="Use an https:// address.",
            )
        return self.registries


@dataclass(frozen=True)
class Scheme:
    """`source` gets the address, what stands behind its prefix, and the context. Raises DownloadError.

    `expand` is for schemes whose server lists files: it gets a file, what stands behind the prefix, and the context,
    and gives the file with digest and size, or the several files that it really is.
    """

    prefixes: tuple[str, ...]
    source: Callable[[str, str, Context], Source]
    expand: Callable[[FileSpec, str, Context], tuple[FileSpec, ...]] | None = None


def host_and_path(uri: str, *, host_needed: bool = True) -> tuple[str, str] | None:
    """Host and unquoted path of a URL; None when it is none, or lacks a host that is needed."""
    try:
        parsed = urlsplit(uri)
        host = parsed.hostname or ""
    except ValueError:
        return None
    return (host, unquote(parsed.path)) if host or not host_needed else None


def parts(path: str) -> list[str]:
    """The components of a path, at least two of them, of which the last may be empty."""
    found = [part for part in path.split("/") if part]
    return found + [""] * (2 - len(found))


def quoted(part: str) -> str:
    return quote(part, safe=_SAFE_IN_PATH)


def last_part(uri: str) -> str:
    return unquote(PurePosixPath(re.split("[?#]", uri, maxsplit=1)[0]).name)


def only_file(uri: str, files: tuple[FileSpec, ...]) -> FileSpec:
    """The one file that an address means. Raises BadUri when it means several, or an image."""
    if len(files) != 1 or files[0].unpack:
        raise BadUri(
            f"{uri[:200]} is not one file but several, or an image.", action="Name a file by https:// instead."
        )
    return files[0]
