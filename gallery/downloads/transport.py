"""Opening a source at an offset: what the server really gives, and a named error for everything else."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gallery.downloads import answers
from gallery.downloads.answers import validator_of
from gallery.downloads.errors import DownloadError, ServerFault, Stalled, TooLarge, from_net
from gallery.downloads.local import LocalFile
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec
from localai_admin.lib.net import Client, NetError, Response, TimedOut, shown

#: To get at a piece, at most so many bytes before it are read of a server that gives no pieces.
_MOST_SKIPPED = 8 << 20
#: No file has more bytes than 18 digits can say.
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
#: For all of a small document, or of a piece. Seconds.
_READ_SECONDS = 120.0


@dataclass
class Stream:
    """`offset` is where the bytes begin, whatever was asked for, and `end` where the answer ends; `total` is the size
    of the whole file. None stands for unknown.

    `validator` tells this version of the file from another; empty when the server has none. `receive` puts what comes
    next into a view and says how many bytes that were: 0 at the end, None after a moment without data. It raises
    DownloadError. Close the stream when done.
    """

    offset: int
    end: int | None
    total: int | None
    validator: str
    receive: Callable[[memoryview], int | None]
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

    def open(
        self, uri: str, offset: int = 0, validator: str = "", end: int | None = None, other: int = 0
    ) -> Stream: ...

    def size(self, uri: str) -> int | None: ...

    def others(self, uri: str) -> int: ...


class Downloader:
    """Opens addresses: `resolve` says what each means, `client` connects."""

    def __init__(
        self,
        client: Client,
        resolve: Callable[[str], Source],
        expand: Callable[[Sequence[FileSpec]], tuple[FileSpec, ...]] = tuple,
    ) -> None:
        self._client = client
        self._resolve = resolve
        self._expand = expand

    def expand(self, files: Sequence[FileSpec]) -> tuple[FileSpec, ...]:
        """The files with what their registries say of them: digest, size, and several for a name of several."""
        return self._expand(files)

    def open(self, uri: str, offset: int = 0, validator: str = "", end: int | None = None, other: int = 0) -> Stream:
        """The source from `offset` up to `end`, if it still is the version that `validator` names; else the whole.

        Of a source with mirrors, `other` is which of them, 0 for the source itself.
        """
        source = self._resolve(uri)
        source = (source, *source.others)[other]
        if source.kind == "file":
            return _open_file(LocalFile.of(source), offset, validator, end)
        if validator and (offset or end is not None):
            stream = self._open_range(source, offset, end, validator)
            if stream:
                return stream
        return self._open_whole(source)

    def others(self, uri: str) -> int:
        """How many further places have the same file. Raises DownloadError."""
        return len(self._resolve(uri).others)

    def size(self, uri: str) -> int | None:
        """Bytes of a source, None when the server does not say. Raises DownloadError when it is not to be had."""
        source = self._resolve(uri)
        if source.kind == "file":
            return LocalFile.of(source).stat()[0]
        with self._ask(source, method="HEAD") as response:
            if response.status == 200:
                return answers.length_of(response)
        # Not every server knows HEAD: the first byte says as much.
        with self._ask(source, headers={"Range": "bytes=0-0"}) as response:
            answers.raise_for(response, source)
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            return int(found[3]) if found and found[3] != "*" else answers.length_of(response, 200)

    def read(self, uri: str, offset: int, length: int, *, seconds: float = _READ_SECONDS) -> bytes:
        """A piece of a source, shorter only where that ends, within so many seconds. Raises DownloadError."""
        end = time.monotonic() + seconds
        source = self._resolve(uri)
        if source.kind == "file":
            return LocalFile.of(source).read(offset, length)
        asked = {"Range": f"bytes={offset}-{offset + length - 1}"}
        with self._ask(source, headers=asked, seconds=seconds) as response:
            if response.status == 416:
                return b""
            answers.raise_for(response, source)
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            begin = int(found[1]) if response.status == 206 and found else 0
            return _cut_out(response, offset - begin, length, end, seconds)

    def fetch(
        self,
        uri: str,
        *,
        etag: str = "",
        last_modified: str = "",
        limit: int = 1 << 20,
        seconds: float = _READ_SECONDS,
    ) -> Document:
        """A small document, whole, within so many seconds. Raises DownloadError; TooLarge above `limit` bytes.

        When a server lets the last header wait, it takes the limits of one connection longer.
        """
        end = time.monotonic() + seconds
        source = self._resolve(uri)
        if source.kind == "file":
            return _read_file(LocalFile.of(source), etag, limit)
        conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in conditions.items() if value}
        with self._ask(source, headers=headers, seconds=seconds) as response:
            if response.status == 304 and headers:
                return Document(None, etag, last_modified)
            answers.raise_for(response, source)
            try:
                body = response.read(limit, max(0.0, end - time.monotonic()))
            except TimedOut:
                raise _too_slow(response, seconds) from None
            except NetError as error:
                raise from_net(error) from None
            return Document(body, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))

    def _open_range(self, source: Source, offset: int, end: int | None, validator: str) -> Stream | None:
        """A piece of the file; None when the server does not give just that, so that the whole is to be asked for."""
        headers = {"Range": f"bytes={offset}-{'' if end is None else end - 1}"}
        if not validator.startswith("W/"):
            headers["If-Range"] = validator
        response = self._ask(source, headers=headers)
        if response.status == 200:
            return self._stream(response, source, _Piece.whole(answers.length_of(response)))
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same = validator_of(response) in {"", validator}
        if response.status == 206 and found and _is_asked(found, offset, end) and same:
            total = int(found[3]) if found[3] != "*" else None
            piece = _Piece(offset, total, int(found[2]) + 1 - offset, validator)
            return self._stream(response, source, piece)
        response.close()
        if response.status == 416 and response.headers.get("Content-Range") == f"bytes */{offset}" and same:
            return Stream(offset, offset, offset, validator, lambda _view: 0, response.close)
        if response.status not in {206, 416}:
            answers.raise_for(response, source)
        return None

    def _open_whole(self, source: Source) -> Stream:
        response = self._ask(source)
        return self._stream(response, source, _Piece.whole(answers.length_of(response)))

    def _stream(self, response: Response, source: Source, piece: _Piece) -> Stream:
        try:
            answers.raise_for(response, source, expected={206} if piece.validator else {200})
            answers.refuse_page(response, source)
        except DownloadError:
            response.close()
            raise
        end = None if piece.length is None else piece.offset + piece.length
        validator = piece.validator or validator_of(response)
        receive = _Counted(response, piece.length).receive
        return Stream(piece.offset, end, piece.total, validator, receive, response.close)

    def _ask(
        self,
        source: Source,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Response:
        try:
            return self._client.open(
                source.location, method=method, headers=headers, credentials=source.credentials, seconds=seconds
            )
        except NetError as error:
            raise from_net(error) from None


def _too_slow(response: Response, seconds: float) -> Stalled:
    return Stalled(f"{shown(response.url)} was not read within {seconds:.0f} s.", action="Try again later.")


def _cut_out(response: Response, skip: int, length: int, end: float, seconds: float) -> bytes:
    """So many bytes of a body behind those that are skipped; a server may give more than it was asked for."""
    if not 0 <= skip <= _MOST_SKIPPED:
        raise ServerFault(f"{shown(response.url)} does not give the piece that was asked for.", retry=False)
    body = bytearray()
    try:
        for piece in response.chunks():
            body += piece
            if len(body) >= skip + length:
                break
            if time.monotonic() > end:
                raise _too_slow(response, seconds)
    except NetError as error:
        raise from_net(error) from None
    return bytes(body[skip : skip + length])


def _is_asked(found: re.Match[str], offset: int, end: int | None) -> bool:
    """Whether the range that was sent begins where it should, and has no more than was asked for."""
    return int(found[1]) == offset <= int(found[2]) and (end is None or int(found[2]) < end)


class _Counted:
    """A body that has to have just as many bytes as were announced."""

    def __init__(self, response: Response, expected: int | None) -> None:
        self._response, self._expected = response, expected
        self._count = 0

    def receive(self, view: memoryview) -> int | None:
        try:
            count = self._response.receive(view)
        except NetError as error:
            raise from_net(error) from None
        self._count += count or 0
        if self._expected is not None and self._count > self._expected:
            where = shown(self._response.url)
            raise TooLarge(f"{where} sends more than the {self._expected:,} bytes it announced.")
        if count == 0 and self._expected is not None and self._count < self._expected:
            raise answers.cut_off(self._response, self._count, self._expected)
        return count


# --- Files of this machine ------------------------------------------------------------------------------------------


def _open_file(file: LocalFile, offset: int, validator: str, end: int | None) -> Stream:
    total, current = file.stat()
    if validator != current or offset > total:
        offset, end = 0, None
    end = total if end is None else min(end, total)
    receive, close = file.open(offset, end)
    return Stream(offset, end, total, current, receive, close)


def _read_file(file: LocalFile, etag: str, limit: int) -> Document:
    size, current = file.stat()
    if etag == current:
        return Document(None, etag)
    if size > limit:
        raise TooLarge(f"{file.name} is larger than {limit:,} bytes.")
    return Document(file.read(0, size), current)
