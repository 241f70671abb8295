"""Getting a gallery's index: from its address, or else from its mirrors in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gallery.catalog.entries import MAX_INDEX_BYTES, Index, parse_index
from gallery.catalog.errors import CatalogError, SourceError
from gallery.downloads.errors import DownloadError
from gallery.downloads.transport import Document

_MAX_REFERENCE_BYTES = 4096


class Fetcher(Protocol):
    """Fetches a small document; raises DownloadError. `Downloader.fetch` is one."""

    def __call__(self, uri: str, *, etag: str = "", last_modified: str = "", limit: int = 1 << 20) -> Document: ...


@dataclass(frozen=True)
class Fetched:
    """`body` and `index` are None when the index is still the one the validators are of. `url` gave the answer.

    The validators are those of the gallery's own address, and empty when a mirror answered: dates and tags of one
    server say nothing about another.
    """

    body: bytes | None
    index: Index | None
    etag: str
    last_modified: str
    url: str


def fetch_index(
    url: str, mirrors: Sequence[str], *, etag: str = "", last_modified: str = "", fetcher: Fetcher
) -> Fetched:
    """The first source that gives an index. Raises SourceError, which says what was wrong with each."""
    failures: list[str] = []
    retry = False
    for source in dict.fromkeys([url, *mirrors]):
        validators = (etag, last_modified) if source == url else ("", "")
        try:
            return _fetched(source, validators, fetcher, own=source == url)
        except (DownloadError, CatalogError) as error:
            failures.append(f"{source}: {error}" if mirrors else str(error))
            # A page of an overloaded server is no index either, and may be one later.
            retry = retry or error.retry
    raise SourceError(" ".join(failures), retry=retry)


def _fetched(source: str, validators: tuple[str, str], fetcher: Fetcher, *, own: bool) -> Fetched:
    address = _followed(source, fetcher) if source.endswith(".ref") else source
    document = fetcher(address, etag=validators[0], last_modified=validators[1], limit=MAX_INDEX_BYTES)
    kept = (document.etag, document.last_modified) if own else ("", "")
    index = None if document.body is None else parse_index(document.body)
    return Fetched(document.body, index, *kept, source)


def _followed(reference: str, fetcher: Fetcher) -> str:
    """The address that a .ref file stands for: it holds the name of a file beside it."""
    body = fetcher(reference, limit=_MAX_REFERENCE_BYTES).body or b""
    name = body.decode(errors="replace").strip()
    if not name:
        raise CatalogError(f"The reference {reference} is empty; it must hold a file name.")
    if "\n" in name or ":" in name or name.startswith(("/", "<")) or ".." in name.split("/"):
        raise CatalogError(f"The reference {reference} holds {name[:100]!r}, which is no name of a file beside it.")
    return f"{reference.rpartition('/')[0]}/{name}"
