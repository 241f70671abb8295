"""An image or an artifact in one tar on this machine, in the layout that registries and builders agree on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gallery.downloads.errors import BadArchive, BadManifest, LocalFault
from gallery.downloads.registries import manifests
from gallery.downloads.registries.manifests import Blob, Manifest
from gallery.downloads.tarballs import members

_MOST_ENTRIES = 10_000
_INDEX = "index.json"


@dataclass(frozen=True)
class Layout:
    """`pieces` says where in the file each member is: first byte and size."""

    path: Path
    pieces: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, path: Path) -> "Layout":
        """Raises BadArchive, LocalFault."""
        pieces: dict[str, tuple[int, int]] = {}
        try:
            with path.open("rb") as file:
                for number, member in enumerate(members(file, path.name, lambda _: None)):
                    if member.offset is None or number >= _MOST_ENTRIES:
                        raise BadArchive(f"{path.name} is compressed, or has more than {_MOST_ENTRIES:,} entries.")
                    if member.kind == "file":
                        pieces[member.name.removeprefix("./")] = (member.offset, member.size)
        except OSError as error:
            raise LocalFault(f"{path.name} cannot be read: {error.strerror}.") from None
        if _INDEX not in pieces:
            raise BadArchive(
                f"{path.name} has no {_INDEX}: it is no image in the layout of OCI.",
                action="Save the image in that layout, as newer versions of docker save do.",
            )
        return cls(path, pieces)

    def manifest(self) -> Manifest:
        """The manifest for this machine. Raises BadManifest."""
        name = self.path.name
        found = manifests.read(self._bytes(_INDEX), "", name)
        for _ in range(2):
            if isinstance(found, Manifest):
                break
            chosen = manifests.for_this_machine(found, name)
            found = manifests.read(self.document(chosen), chosen.digest, name)
        if not isinstance(found, Manifest):
            raise BadManifest(f"{name} lists lists of manifests, which this console does not follow.")
        return found

    def document(self, blob: Blob) -> bytes:
        """A small blob, checked by its digest. Raises BadManifest."""
        body = self._bytes(blob_name(blob.digest))
        got = "sha256:" + hashlib.sha256(body).hexdigest()
        if got != blob.digest:
            raise BadManifest(f"A part of {self.path.name} should be {blob.digest} and is {got}.")
        return body

    def piece(self, digest: str) -> tuple[int, int]:
        """Where the blob is. Raises BadManifest."""
        found = self.pieces.get(blob_name(digest))
        if found is None:
            raise BadManifest(f"{self.path.name} does not have {digest}, which it should.")
        return found

    def _bytes(self, name: str) -> bytes:
        offset, size = self.pieces.get(name, (0, -1))
        if not 0 <= size <= manifests.MAX_BYTES:
            raise BadManifest(f"{self.path.name} does not have {name}, or not in {manifests.MAX_BYTES:,} bytes.")
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise LocalFault(f"{self.path.name} cannot be read: {error.strerror}.") from None


def blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
