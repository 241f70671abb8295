"""What is to be downloaded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file of a model: its place below the models folder, its digest (empty when unknown), where it comes from."""

    filename: str
    sha256: str
    uri: str
