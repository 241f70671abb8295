"""What registries say of an image or an artifact: read, checked, and no more believed than needed."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gallery.downloads.errors import BadManifest
from gallery.downloads.registries.references import is_digest

MAX_BYTES = 4 << 20
_MAX_LAYERS = 1000
TITLE = "org.opencontainers.image.title"
UNPACK = "io.deis.oras.content.unpack"

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True)
class Blob:
    """`digest` is `sha256:…`, `size` bytes."""

    digest: str
    size: int
    media_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def title(self) -> str:
        return self.annotations.get(TITLE, "")


@dataclass(frozen=True)
class Manifest:
    """`digest` is the manifest's own."""

    digest: str
    config: Blob | None
    layers: tuple[Blob, ...]


def read(body: bytes, digest: str, name: str) -> Manifest | tuple[Blob, ...]:
    """A manifest, or the blobs of an index that are the manifests for several platforms. Raises BadManifest."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise BadManifest(f"What the registry says of {name} is not JSON.") from None
    if not isinstance(content, dict):
        raise BadManifest(f"What the registry says of {name} is no manifest.")
    if isinstance(content.get("manifests"), list):
        return _blobs(content["manifests"], name)
    if content.get("schemaVersion") != 2 or not isinstance(content.get("layers"), list):
        raise BadManifest(f"The manifest of {name} is of a kind that this console does not know.")
    config = content.get("config")
    return Manifest(digest, _blob(config, name) if config else None, _blobs(content["layers"], name))


def for_this_machine(choices: tuple[Blob, ...], name: str) -> Blob:
    """The manifest of an index that fits this machine, or the only one. Raises BadManifest."""
    real = [blob for blob in choices if blob.platform.get("os") != "unknown"]
    here = ("linux", _MACHINES.get(platform.machine(), platform.machine()))
    fitting = [blob for blob in real if (blob.platform.get("os"), blob.platform.get("architecture")) == here]
    if fitting or len(real) == 1:
        return (fitting or real)[0]
    there = ", ".join("/".join([blob.platform.get("os", "?"), blob.platform.get("architecture", "?")]) for blob in real)
    raise BadManifest(f"{name} has nothing for this machine ({'/'.join(here)}); it has {there[:200] or 'nothing'}.")


def _blobs(items: list[Any], name: str) -> tuple[Blob, ...]:
    if len(items) > _MAX_LAYERS:
        raise BadManifest(f"The manifest of {name} has more than {_MAX_LAYERS:,} parts.")
    return tuple(_blob(item, name) for item in items)


def _blob(item: object, name: str) -> Blob:
    data = item if isinstance(item, dict) else {}
    digest, size = data.get("digest"), data.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise BadManifest(f"A part of {name} has no digest of SHA-256.")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise BadManifest(f"A part of {name} has no size.")
    media_type = data.get("mediaType")
    return Blob(
        digest,
        size,
        media_type.partition(";")[0].strip().lower() if isinstance(media_type, str) else "",
        _texts(data.get("annotations")),
        _texts(data.get("platform")),
    )


def _texts(value: object) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {str(key): text for key, text in items if isinstance(text, str)}
