"""Getting a gallery's index: from its address, or else from its mirrors in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Protocol

from gallery.catalog.entries import MAX_INDEX_BYTES
from gallery.catalog.errors import CatalogError, SourceError
from gallery.catalog.parsing import ParsedIndex, parse
from gallery.downloads.errors import DownloadError
from gallery.downloads.transport import Document
from localai_admin.lib.net import shown

#: A source that failed is asked after all others for so long. Seconds.
COOL_DOWN = 600.0

_MAX_REFERENCE_BYTES = 4096


class Fetcher(Protocol):
    """Fetches a small document; raises DownloadError. `Downloader.fetch` is one."""

    def __call__(self, uri: str, *, etag: str = "", last_modified: str = "", limit: int = 1 << 20) -> Document: ...


@dataclass(frozen=True)
class Known:
    """What is known of the copy that is here: what its server called it, and its own SHA-256; empty when unknown."""

    etag: str = ""
    last_modified: str = ""
    digest: str = ""


NOTHING = Known()


class Cooling:
    """Which sources failed a short while ago: they are asked only when every other one has failed, too."""

    def __init__(self, seconds: float = COOL_DOWN, clock: Callable[[], float] = monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: dict[str, float] = {}

    def in_order(self, sources: Sequence[str]) -> list[str]:
        """Each source once, those that failed lately behind the others."""
        now = self._clock()
        return sorted(dict.fromkeys(sources), key=lambda source: self._until.get(source, now) > now)

    def failed(self, source: str) -> None:
        self._until[source] = self._clock() + self._seconds

    def worked(self, source: str) -> None:
        self._until.pop(source, None)


@dataclass(frozen=True)
class Fetched:
    """`index` is None when it is still the one that is known. `url` gave the answer.

    The validators of `known` are those of the gallery's own address, and empty when a mirror answered: dates and tags
    of one server say nothing about another.
    """

    index: ParsedIndex | None
    known: Known
    url: str


def fetch_index(
    url: str,
    mirrors: Sequence[str],
    *,
    known: Known = NOTHING,
    fetcher: Fetcher,
    check: Callable[[], None] = lambda: None,
    cooling: Cooling | None = None,
) -> Fetched:
    """The first source that gives an index. Raises SourceError, which says what was wrong with each.

    `check` is called while an index is read, and may raise to end that. `cooling` remembers from one call to the next
    which sources failed; without it they are asked in their order.
    """
    cooling = cooling or Cooling()
    failures: list[str] = []
    actions: dict[str, None] = {}
    retry = False
    for source in cooling.in_order([url, *mirrors]):
        try:
            found = _fetched(source, known, fetcher, check, own=source == url)
        except (DownloadError, CatalogError) as error:
            cooling.failed(source)
            failures.append(f"{shown(source)}: {error}" if mirrors else str(error))
            actions[error.action] = None
            # A page of an overloaded server is no index either, and may be one later.
            retry = retry or error.retry
        else:
            cooling.worked(source)
            return found
    raise SourceError(" ".join(failures), retry=retry, action=" ".join(actions))


def _fetched(source: str, known: Known, fetcher: Fetcher, check: Callable[[], None], *, own: bool) -> Fetched:
    address = _followed(source, fetcher) if _is_reference(source) else source
    asked = (known.etag, known.last_modified) if own and known.digest else ("", "")
    document = fetcher(address, etag=asked[0], last_modified=asked[1], limit=MAX_INDEX_BYTES)
    digest = known.digest if document.body is None else sha256(document.body).hexdigest()
    now = Known(document.etag, document.last_modified, digest) if own else Known(digest=digest)
    # Not every server has validators: the digest is compared before anything is read.
    index = None if document.body is None or digest == known.digest else parse(document.body, check)
    return Fetched(index, now, source)


def _is_reference(source: str) -> bool:
    """Whether it is the name of a .ref file, and not a host that is called so: its answer would choose another host."""
    _, is_url, rest = source.partition("://")
    return source.endswith(".ref") and (not is_url or "/" in rest)


def _followed(reference: str, fetcher: Fetcher) -> str:
    """The address that a .ref file stands for: it holds the name of a file beside it."""
    body = fetcher(reference, limit=_MAX_REFERENCE_BYTES).body or b""
    name = body.decode(errors="replace").strip()
    if not name:
        raise CatalogError(f"The reference {shown(reference)} is empty; it must hold a file name.")
    if "\n" in name or ":" in name or name.startswith(("/", "<")) or ".." in name.split("/"):
        raise CatalogError(
            f"The reference {shown(reference)} holds {name[:100]!r}, which is no name of a file beside it."
        )
    return f"{reference.rpartition('/')[0]}/{name}"
