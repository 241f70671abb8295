"""What an image or an artifact is, as files of a model.

An artifact with one file is that file. Of several, each keeps the name it has in the artifact: beside the file that the
entry names when that is one of them, else in a folder of the entry's name. An image is unpacked into a folder of the
entry's name, layer by layer; so is a folder that was packed into an artifact.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from gallery.downloads.errors import BadManifest, UnsafeName
from gallery.downloads.registries.manifests import UNPACK, Blob, Manifest
from gallery.downloads.specs import FileSpec
from localai_admin.lib.paths import UnsafePath, parts_of

_IMAGE_CONFIGS = {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}


@dataclass(frozen=True)
class Package:
    """`name` is for errors; `address` gives a blob's own, and `document` a small blob's bytes, checked."""

    name: str
    manifest: Manifest
    address: Callable[[Blob], str]
    document: Callable[[Blob], bytes]

    def files(self, spec: FileSpec) -> tuple[FileSpec, ...]:
        """The files it stands for where an entry has `spec`. Raises BadManifest, UnsafeName."""
        layers = self.manifest.layers
        titled = [layer for layer in layers if layer.title]
        if titled:
            return self._artifact(spec, titled)
        config = self.manifest.config
        if layers and config and config.media_type in _IMAGE_CONFIGS:
            self._check_config(self.document(config))
            return self._image(spec)
        if len(layers) == 1:
            return (self._file(spec, spec.filename, layers[0]),)
        kinds = ", ".join(sorted({layer.media_type for layer in layers})) or "nothing"
        raise BadManifest(
            f"{self.name} is neither an image nor an artifact with names for its files; it has {kinds[:300]}."
        )

    def _artifact(self, spec: FileSpec, layers: list[Blob]) -> tuple[FileSpec, ...]:
        if len(layers) == 1 and not _is_folder(layers[0]):
            return (self._file(spec, spec.filename, layers[0]),)
        plain, name = self._plain(spec), PurePosixPath(spec.filename)
        folder = name.parent if name.name in {layer.title for layer in layers} else name
        return tuple(
            self._packed(plain, f"{folder / self._title(layer)}.tar", str(folder), layer)
            if _is_folder(layer)
            else self._file(plain, str(folder / self._title(layer)), layer)
            for layer in layers
        )

    def _image(self, spec: FileSpec) -> tuple[FileSpec, ...]:
        plain = self._plain(spec)
        return tuple(
            self._packed(plain, f"{spec.filename}.layer-{number}.tar", spec.filename, layer)
            for number, layer in enumerate(self.manifest.layers, 1)
        )

    def _plain(self, spec: FileSpec) -> FileSpec:
        """Without the entry's digest: that is one file's, and of several it can only be the manifest's."""
        same_digest(spec, self.manifest.digest)
        return replace(spec, sha256="")

    def _file(self, spec: FileSpec, filename: str, blob: Blob) -> FileSpec:
        sha256 = same_digest(spec, blob.digest)
        return replace(spec, filename=filename, sha256=sha256, size=blob.size, uri=self.address(blob))

    def _packed(self, spec: FileSpec, filename: str, folder: str, blob: Blob) -> FileSpec:
        if "zstd" in blob.media_type:
            raise BadManifest(
                f"{self.name} is compressed by zstd, which this console does not unpack.",
                action="Use an image whose layers are compressed by gzip, or not at all.",
            )
        if not blob.media_type.endswith(("tar", "gzip")):
            kind = blob.media_type[:100]
            raise BadManifest(f"{self.name} has a layer of a kind that this console does not unpack: {kind}.")
        return replace(self._file(spec, filename, blob), unpack=folder)

    def _title(self, layer: Blob) -> str:
        try:
            parts_of(layer.title)
        except UnsafePath as error:
            raise UnsafeName(f"{self.name} has a file that cannot be kept. {error}") from None
        return layer.title

    def _check_config(self, body: bytes) -> None:
        """The image's configuration knows of as many layers as its manifest."""
        try:
            layers = json.loads(body)["rootfs"]["diff_ids"]
        except (ValueError, KeyError, TypeError, RecursionError):
            layers = None
        if not isinstance(layers, list) or len(layers) != len(self.manifest.layers):
            raise BadManifest(f"The configuration of {self.name} does not fit its layers.")


def same_digest(spec: FileSpec, digest: str) -> str:
    """The SHA-256 that a registry names (`sha256:…`), as hex digits. Raises BadManifest when the entry has another."""
    sha256 = digest.removeprefix("sha256:")
    if spec.sha256 and spec.sha256 != sha256:
        raise BadManifest(
            f"The gallery and the registry do not mean the same {spec.filename}: the one says {spec.sha256}, "
            f"the other {sha256}.",
            action="Refresh the gallery, or install an entry that names the file by its digest.",
        )
    return sha256


def _is_folder(layer: Blob) -> bool:
    """A folder that was packed to be one file of an artifact."""
    return layer.annotations.get(UNPACK, "").lower() == "true"
