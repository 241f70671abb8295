"""An image or an artifact in one tar of this machine is read where it is, piece by piece."""

import hashlib
import json
import platform
from pathlib import Path

import pytest

from gallery.downloads.errors import BadArchive, BadManifest, BadUri, NotFound, RefusedSource
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
from tests.fakes.registry import OCI, TITLE, digest_of, manifest, packed

WEIGHTS = bytes(range(256)) * 20_000


def opened(root: Path) -> Downloader:
    resolver = Resolver(Settings(file_roots=(root,)))
    return Downloader(Client(Policy()), resolver, resolver.expand)


def described(blobs: dict[str, bytes], data: bytes, kind: str = "application/octet-stream") -> dict[str, object]:
    blobs[f"blobs/sha256/{digest_of(data)[7:]}"] = data
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def layout(folder: Path, *, nested: bool = False, compressed: bool = False, **files: bytes) -> str:
    """A tar with an artifact of these files; returns its address."""
    blobs: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    layers = [described(blobs, data) | {"annotations": {TITLE: name}} for name, data in files.items()]
    body = json.dumps(manifest(described(blobs, b"{}"), layers)).encode()
    entry = described(blobs, body, f"{OCI}manifest.v1+json")
    if nested:
        inner = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        entry = described(blobs, inner, f"{OCI}index.v1+json")
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    (folder / "image.tar").write_bytes(
        packed({f"./{name}": data for name, data in blobs.items()}, compressed=compressed)
    )
    return f"ocifile://{folder}/image.tar"


@pytest.mark.parametrize("nested", [False, True])
def test_the_files_of_an_artifact_are_read_out_of_it(tmp_path: Path, nested: bool) -> None:
    uri = layout(tmp_path, nested=nested, a=b"first", b=WEIGHTS)
    transport = opened(tmp_path)
    first, second = transport.expand([FileSpec("model", "", uri)])
    assert [(file.filename, file.size) for file in (first, second)] == [("model/a", 5), ("model/b", len(WEIGHTS))]
    assert second.uri == f"{uri}#{digest_of(WEIGHTS)}"
    assert transport.expand([second]) == (second,)
    assert transport.size(second.uri) == len(WEIGHTS)
    assert transport.read(second.uri, 0, 1 << 30) == WEIGHTS
    assert transport.read(second.uri, len(WEIGHTS) - 3, 100) == WEIGHTS[-3:]
    assert transport.read(first.uri, 2, 2) == b"rs"


def test_a_download_of_a_piece_goes_on_where_it_was(tmp_path: Path) -> None:
    uri = layout(tmp_path, a=WEIGHTS)
    transport = opened(tmp_path)
    with transport.open(uri) as stream:
        validator = stream.validator
    with transport.open(uri, 1000, validator) as stream:
        assert (stream.offset, stream.end, stream.total) == (1000, len(WEIGHTS), len(WEIGHTS))
        got = hashlib.sha256()
        view = memoryview(bytearray(1 << 16))
        while count := stream.receive(view):
            got.update(view[:count])
    assert got.hexdigest() == hashlib.sha256(WEIGHTS[1000:]).hexdigest()


def test_of_an_image_the_layers_are_archives(tmp_path: Path) -> None:
    blobs: dict[str, bytes] = {}
    layer = described(blobs, packed({"a": b"x"}), f"{OCI}layer.v1.tar+gzip")
    config = described(blobs, json.dumps({"rootfs": {"diff_ids": ["x"]}}).encode(), f"{OCI}config.v1+json")
    entry = described(blobs, json.dumps(manifest(config, [layer])).encode())
    there = {"platform": {"os": "linux", "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]}}
    blobs["index.json"] = json.dumps({"manifests": [entry | there]}).encode()
    (tmp_path / "i.tar").write_bytes(packed(blobs, compressed=False))
    (file,) = opened(tmp_path).expand([FileSpec("mine", "", f"ocifile://{tmp_path}/i.tar")])
    assert (file.filename, file.unpack) == ("mine.layer-1.tar", "mine")
    with pytest.raises(BadUri, match="an image"):
        opened(tmp_path).size(f"ocifile://{tmp_path}/i.tar")


def test_only_files_below_an_allowed_folder_are_read(tmp_path: Path) -> None:
    uri = layout(tmp_path, a=b"x")
    with pytest.raises(RefusedSource):
        opened(tmp_path / "elsewhere").expand([FileSpec("f", "", uri)])
    with pytest.raises(RefusedSource):
        opened(tmp_path / "elsewhere").size(f"{uri}#{digest_of(b'x')}")
    with pytest.raises(NotFound):
        opened(tmp_path).expand([FileSpec("f", "", f"ocifile://{tmp_path}/none.tar")])


def test_what_is_no_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.tar").write_bytes(packed({"manifest.json": b"[]"}, compressed=False))
    with pytest.raises(BadArchive, match=r"old\.tar has no index\.json") as caught:
        opened(tmp_path).expand([FileSpec("f", "", f"ocifile://{tmp_path}/old.tar")])
    assert caught.value.action
    uri = layout(tmp_path, compressed=True, a=b"x")
    with pytest.raises(BadArchive, match="compressed"):
        opened(tmp_path).expand([FileSpec("f", "", uri)])
    uri = layout(tmp_path, a=b"x")
    with pytest.raises(BadManifest, match="does not have"):
        opened(tmp_path).size(f"{uri}#sha256:{'0' * 64}")
    with pytest.raises(BadUri):
        opened(tmp_path).size(f"{uri}#blob")


def test_a_damaged_manifest_is_found_out(tmp_path: Path) -> None:
    uri = layout(tmp_path, a=b"x")
    whole = (tmp_path / "image.tar").read_bytes()
    (tmp_path / "image.tar").write_bytes(
        whole.replace(b'"schemaVersion": 2, "mediaType"', b'"schemaVersion": 3, "mediaType"')
    )
    with pytest.raises(BadManifest, match="should be sha256:"):
        opened(tmp_path).expand([FileSpec("f", "", uri)])
