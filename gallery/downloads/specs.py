"""What is to be downloaded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file of a model: its place below the models folder, its digest (empty when unknown), where it comes from.

    `size` is bytes, where a manifest or a repository's listing says it. `unpack` is not empty for an archive (tar, also
    compressed by gzip): it names the folder that the content goes into, and the archive itself is not kept. Of several
    archives for one folder the later ones are laid over the earlier ones.
    """

    filename: str
    sha256: str
    uri: str
    size: int | None = None
    unpack: str = ""
