"""What is to be downloaded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file of a model: its place below the models folder, its digest (empty when unknown), where it comes from.

    `size` is bytes, where a manifest or a repository's listing says it. `unpack` is `tar` for an archive whose content
    goes into the folder of that name instead of the file itself.
    """

    filename: str
    sha256: str
    uri: str
    size: int | None = None
    unpack: str = ""
