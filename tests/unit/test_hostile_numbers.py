"""Numbers from archives, registries and model files that no file can have: each is refused by name, at once."""

import io
import json
import struct
import tarfile
from pathlib import Path

import pytest

from gallery.downloads.errors import BadArchive, BadManifest
from gallery.downloads.registries import manifests, tokens
from gallery.downloads.registries.layouts import Layout
from gallery.downloads.tarballs import members
from models import gguf

DIGITS = "9" * 5000


def block(kind: bytes = tarfile.REGTYPE, size: int = 0, name: str = "x") -> bytes:
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    return header.tobuf(tarfile.GNU_FORMAT)


def beside(record: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """What stands before a member, and says something of it."""
    return block(kind, len(record)) + record.ljust(-(-len(record) // 512) * 512, b"\0")


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    length = len(text) + 2
    while len(str(length)) + len(text) != length:
        length += 1
    return str(length).encode() + text


TARS = {
    "a length with thousands of digits": beside(DIGITS.encode() + b" path=x\n") + block(),
    "a size with thousands of digits": beside(record("size", DIGITS)) + block(),
    "a size of more than 64 bits": beside(record("size", str(2**70))) + block(),
    "a size of 88 bits": block(size=2**87),
    "a size just below 64 bits": block(size=2**63 - 1),
    "a name of 88 bits": block(tarfile.GNUTYPE_LONGNAME, 2**87),
}


@pytest.mark.parametrize("data", TARS.values(), ids=TARS)
def test_a_length_in_an_archive_that_cannot_be_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(data + block() + bytes(1024))
    with pytest.raises(BadArchive):
        for member in members(io.BytesIO(path.read_bytes()), "image.tar", lambda _: None):
            assert member.size < 2**62
    with pytest.raises(BadArchive):
        Layout.of(path)


@pytest.mark.parametrize("size", [2**63, 10**300])
def test_a_size_that_no_file_has_is_no_manifest(size: int) -> None:
    layer = {"digest": f"sha256:{'0' * 64}", "size": size}
    with pytest.raises(BadManifest):
        manifests.read(json.dumps({"schemaVersion": 2, "layers": [layer]}).encode(), "", "x")


@pytest.mark.parametrize("seconds", ["1" + "0" * 400, "1e999", "-1", "0", "NaN", '"x"', "null", DIGITS])
def test_how_long_a_token_holds_is_a_number_of_seconds_whatever_is_said(seconds: str) -> None:
    try:
        _, holds = tokens._token(f'{{"token": "t", "expires_in": {seconds}}}'.encode(), "x")
    except BadManifest:
        return
    assert 0 < holds <= 86_400


@pytest.mark.parametrize("counts", [(4_000_000,), (1000, 3_999_000)])
def test_a_header_of_nothing_but_empty_texts_is_given_up(tmp_path: Path, counts: tuple[int, ...]) -> None:
    """Each costs eight bytes of the file, and a look; a page waits for the answer."""
    path = tmp_path / "x.gguf"
    key = struct.pack("<Q", 1) + b"a"
    lists = b"".join(key + struct.pack("<IIQ", 9, 8, count) + bytes(8 * count) for count in counts)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(counts)) + lists)
    with pytest.raises(gguf.GgufError, match=r"lists of 4,000,000 items"):
        gguf.read_file(path)
