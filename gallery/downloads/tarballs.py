"""Reading a tar from its beginning to its end, without ever believing a length or a name in it.

The library's own reader takes whatever length a header has into memory, and its unpacking follows links: here each
header is one block, what is beside it is small, and nothing is made on the disk.
"""

import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from gallery.downloads.errors import BadArchive

BLOCK = 512
_CHUNK = 1 << 20
#: Long names and their like; more is nothing that a name needs.
_MOST_BESIDE = 64 << 10
#: What a file system can have in one file.
_MOST_BYTES = (1 << 62) - 1
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_KINDS: dict[bytes, Literal["file", "folder", "link"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
}
_REFUSED = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a file with holes",
}

Count = Callable[[int], None]


@dataclass(frozen=True)
class Member:
    """`data` gives the pieces of a file, and must be read before the next member is. `link` is where a link leads.

    `offset` is where the bytes begin in the archive's file; None when it is compressed.
    """

    name: str
    kind: Literal["file", "folder", "link"]
    size: int
    link: str
    data: Iterator[bytes]
    offset: int | None


def members(file: BinaryIO, name: str, count: Count) -> Iterator[Member]:
    """What is in a tar, compressed by gzip or not. `count` gets the bytes read and may raise. Raises BadArchive.

    `name` is the archive's, for errors.
    """
    reader = _Reader(file, name, count)
    beside: dict[str, str] = {}
    while (block := reader.header()) is not None:
        header = _header(block, name)
        if header.type in _BESIDE:
            beside |= _BESIDE[header.type](reader, header.size)
            continue
        yield _member(reader, header, beside)
        beside = {}


def _header(block: bytes, name: str) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise BadArchive(f"{name} is no tar archive, or is damaged.") from None
    if not 0 <= header.size <= _MOST_BYTES:
        raise BadArchive(f"{name} is damaged: it has a file of {header.size:,} bytes.")
    return header


def _member(reader: "_Reader", header: tarfile.TarInfo, beside: dict[str, str]) -> Member:
    name = beside.get("path", header.name)
    if header.type in _REFUSED or any(key.startswith("GNU.sparse.") for key in beside):
        raise BadArchive(f"{reader.name} has {_REFUSED.get(header.type, 'a file with holes')} in it: {name[:200]!r}.")
    kind = _KINDS.get(header.type)
    if kind is None:
        raise BadArchive(f"{reader.name} has something of an unknown kind in it: {name[:200]!r}.")
    size = _number(beside["size"], reader.name) if "size" in beside else header.size
    reader.begin(size if kind == "file" else 0)
    return Member(name, kind, size, beside.get("linkpath", header.linkname), reader.pieces(), reader.offset())


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _MOST_BYTES):
        raise BadArchive(f"{name} is damaged: it has a file of {text[:20]!r} bytes.")
    return int(text)


def _pax(reader: "_Reader", size: int) -> dict[str, str]:
    """Records of the form `length key=value`, each ended by a line's end."""
    data, found = reader.small(size), {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or len(length) > 6 or not len(length) + 2 < int(length) <= len(data):
            raise BadArchive(f"{reader.name} is damaged: a record in it has no length.")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        found[_text(key)] = _text(value)
        data = data[int(length) :]
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _for_all(reader: "_Reader", size: int) -> dict[str, str]:
    """Records for every member that follows: nothing in them is needed."""
    reader.small(size)
    return {}


_BESIDE: dict[bytes, Callable[["_Reader", int], dict[str, str]]] = {
    tarfile.XHDTYPE: _pax,
    tarfile.XGLTYPE: _for_all,
    tarfile.GNUTYPE_LONGNAME: lambda reader, size: {"path": _text(reader.small(size).partition(b"\0")[0])},
    tarfile.GNUTYPE_LONGLINK: lambda reader, size: {"linkpath": _text(reader.small(size).partition(b"\0")[0])},
}


class _Reader:
    """The bytes of a tar in order: headers, and what follows each of them."""

    def __init__(self, file: BinaryIO, name: str, count: Count) -> None:
        self.name = name
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        file.seek(0)
        self._plain = not _is_packed(file, name)
        self._pieces = _counted(_plain(file) if self._plain else _inflated(file, name), count)
        self._buffer = b""
        self._left = self._padding = 0

    def header(self) -> bytes | None:
        """The next block; None at the end, which is a block of zeros or where nothing more is."""
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        block = self._take(BLOCK, at_end_too=True)
        return block if block.strip(b"\0") else None

    def offset(self) -> int | None:
        return self._file.tell() - len(self._buffer) if self._plain else None

    def begin(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def pieces(self) -> Iterator[bytes]:
        while self._left:
            piece = self._take(min(_CHUNK, self._left), some=True)
            self._left -= len(piece)
            yield piece

    def small(self, size: int) -> bytes:
        if size > _MOST_BESIDE:
            raise BadArchive(f"{self.name} has a name, or a note beside one, of {size:,} bytes.")
        data = self._take(size)
        self._take(-size % BLOCK)
        return data

    def _skip(self, size: int) -> None:
        """Whoever does not want a file need not read it."""
        inside = min(size, len(self._buffer))
        self._buffer = self._buffer[inside:]
        if self._plain and size > inside:
            if self._file.seek(size - inside, os.SEEK_CUR) > self._size:
                raise BadArchive(f"{self.name} ends in the middle.")
            return
        while inside < size:
            inside += len(self._take(min(_CHUNK, size - inside), some=True))

    def _take(self, size: int, *, some: bool = False, at_end_too: bool = False) -> bytes:
        """So many bytes, or with `some` the first few of them, or nothing when the end may be here."""
        while len(self._buffer) < (min(size, 1) if some else size):
            piece = next(self._pieces, b"")
            if not piece:
                if at_end_too and not self._buffer:
                    return b""
                raise BadArchive(f"{self.name} ends in the middle.")
            self._buffer += piece
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def _is_packed(file: BinaryIO, name: str) -> bool:
    start = file.read(4)
    file.seek(0)
    if start == _ZSTD:
        raise BadArchive(
            f"{name} is compressed by zstd, which this console does not unpack.",
            action="Use an archive that is compressed by gzip, or not at all.",
        )
    return start.startswith(_GZIP)


def _counted(pieces: Iterator[bytes], count: Count) -> Iterator[bytes]:
    for piece in pieces:
        count(len(piece))
        yield piece


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece


def _inflated(file: BinaryIO, name: str) -> Iterator[bytes]:
    """One gzip member after the other, never more than 1 MiB at a time, however small it was packed."""
    waiting = b""
    while waiting or (waiting := file.read(_CHUNK)):
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not member.eof:
            waiting = waiting or file.read(_CHUNK)
            if not waiting:
                raise BadArchive(f"{name} ends in the middle.")
            try:
                piece = member.decompress(waiting, _CHUNK)
            except zlib.error:
                raise BadArchive(f"{name} is damaged: it cannot be unpacked.") from None
            waiting = member.unused_data if member.eof else member.unconsumed_tail
            if piece:
                yield piece
