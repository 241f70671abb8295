"""Opening a source at an offset: what the server really gives, and a named error for everything else."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gallery.downloads import answers
from gallery.downloads.answers import validator_of
from gallery.downloads.errors import DownloadError, LocalFault, NotFound, TooLarge, from_net
from gallery.downloads.uris import Source
from localai_admin.lib.net import Client, NetError, Response, shown

CHUNK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass
class Stream:
    """`offset` is where the chunks begin, whatever was asked for; `total` the size of the whole file, None if unknown.

    `validator` tells this version of the file from another; empty when the server has none. `chunks` are pieces of at
    most 1 MiB, and an empty one for each second without data; iterating raises DownloadError. Close it when done.
    """

    offset: int
    total: int | None
    validator: str
    chunks: Iterator[bytes]
    close: Callable[[], None]

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Document:
    """A small file. `body` is None when it is still the one that the validators asked about."""

    body: bytes | None
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True)
class _Piece:
    """What an answer holds: `length` bytes from `offset` on, of a file of `total`; None where it does not say."""

    offset: int
    total: int | None
    length: int | None
    validator: str = ""

    @classmethod
    def whole(cls, total: int | None) -> "_Piece":
        return cls(0, total, total)


class Transport(Protocol):
    """What a download needs of a transport; `Downloader` is the real one."""

    def open(self, uri: str, offset: int = 0, validator: str = "") -> Stream: ...

    def size(self, uri: str) -> int | None: ...


class Downloader:
    """Opens addresses: `resolve` says what each means, `client` connects."""

    def __init__(self, client: Client, resolve: Callable[[str], Source]) -> None:
        self._client = client
        self._resolve = resolve

    def open(self, uri: str, offset: int = 0, validator: str = "") -> Stream:
        """The source from `offset` on, if it still is the version that `validator` names; else from its beginning."""
        source = self._resolve(uri)
        if source.kind == "file":
            return _open_file(Path(source.location), offset, validator)
        if offset and validator:
            stream = self._open_range(source, offset, validator)
            if stream:
                return stream
        return self._open_whole(source)

    def size(self, uri: str) -> int | None:
        """Bytes of a source, None when the server does not say. Raises DownloadError when it is not to be had."""
        source = self._resolve(uri)
        if source.kind == "file":
            return _stat(Path(source.location))[0]
        with self._ask(source, method="HEAD") as response:
            if response.status == 200:
                return answers.length_of(response)
        # Not every server knows HEAD: the first byte says as much.
        with self._ask(source, headers={"Range": "bytes=0-0"}) as response:
            answers.raise_for(response, source)
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            return int(found[3]) if found and found[3] != "*" else answers.length_of(response, 200)

    def fetch(self, uri: str, *, etag: str = "", last_modified: str = "", limit: int = 1 << 20) -> Document:
        """A small document, whole. Raises DownloadError; TooLarge above `limit` bytes."""
        source = self._resolve(uri)
        if source.kind == "file":
            return _read_file(Path(source.location), etag, limit)
        conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in conditions.items() if value}
        with self._ask(source, headers=headers) as response:
            if response.status == 304 and headers:
                return Document(None, etag, last_modified)
            answers.raise_for(response, source)
            try:
                body = response.read(limit)
            except NetError as error:
                raise from_net(error) from None
            return Document(body, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))

    def _open_range(self, source: Source, offset: int, validator: str) -> Stream | None:
        """The rest of the file; None when the server does not give just that, so that the whole is to be asked for."""
        headers = {"Range": f"bytes={offset}-"}
        if not validator.startswith("W/"):
            headers["If-Range"] = validator
        response = self._ask(source, headers=headers)
        if response.status == 200:
            return self._stream(response, source, _Piece.whole(answers.length_of(response)))
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same = validator_of(response) in {"", validator}
        if response.status == 206 and found and int(found[1]) == offset and same:
            total = int(found[3]) if found[3] != "*" else None
            piece = _Piece(offset, total, int(found[2]) + 1 - offset, validator)
            return self._stream(response, source, piece)
        response.close()
        if response.status == 416 and response.headers.get("Content-Range") == f"bytes */{offset}" and same:
            return Stream(offset, offset, validator, iter(()), response.close)
        if response.status not in {206, 416}:
            answers.raise_for(response, source)
        return None

    def _open_whole(self, source: Source) -> Stream:
        response = self._ask(source)
        return self._stream(response, source, _Piece.whole(answers.length_of(response)))

    def _stream(self, response: Response, source: Source, piece: _Piece) -> Stream:
        try:
            answers.raise_for(response, source, expected={206} if piece.offset else {200})
            answers.refuse_page(response, source)
        except DownloadError:
            response.close()
            raise
        chunks = _whole(response, piece.length)
        return Stream(piece.offset, piece.total, piece.validator or validator_of(response), chunks, response.close)

    def _ask(self, source: Source, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Response:
        try:
            return self._client.open(source.location, method=method, headers=headers, credentials=source.credentials)
        except NetError as error:
            raise from_net(error) from None


def _whole(response: Response, expected: int | None) -> Iterator[bytes]:
    """The pieces of a body; an error when there are fewer or more bytes than expected."""
    count = 0
    try:
        for piece in response.chunks():
            count += len(piece)
            if expected is not None and count > expected:
                raise TooLarge(f"{shown(response.url)} sends more than the {expected:,} bytes it announced.")
            yield piece
    except NetError as error:
        raise from_net(error) from None
    if expected is not None and count < expected:
        raise answers.cut_off(response, count, expected)


# --- Files of this machine ------------------------------------------------------------------------------------------


def _open_file(path: Path, offset: int, validator: str) -> Stream:
    total, current = _stat(path)
    offset = offset if validator == current and offset <= total else 0
    try:
        file = path.open("rb", buffering=0)
        file.seek(offset)
    except OSError as error:
        raise LocalFault(f"{path.name} cannot be read: {error.strerror}.") from None

    def chunks() -> Iterator[bytes]:
        try:
            while piece := file.read(CHUNK):
                yield piece
        except OSError as error:
            raise LocalFault(f"{path.name} cannot be read: {error.strerror}.") from None

    return Stream(offset, total, current, chunks(), file.close)


def _read_file(path: Path, etag: str, limit: int) -> Document:
    size, current = _stat(path)
    if etag == current:
        return Document(None, etag)
    if size > limit:
        raise TooLarge(f"{path.name} is larger than {limit:,} bytes.")
    try:
        return Document(path.read_bytes(), current)
    except OSError as error:
        raise LocalFault(f"{path.name} cannot be read: {error.strerror}.") from None


def _stat(path: Path) -> tuple[int, str]:
    try:
        status = path.stat()
    except OSError as error:
        raise NotFound(f"{path.name} is not there: {error.strerror}.") from None
    return status.st_size, f"{status.st_size}-{status.st_mtime_ns}"
