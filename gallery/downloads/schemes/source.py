"""What an address means: where its bytes are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Source:
    """`location` is a URL for kind http, an absolute path for kind file.

    `credentials` are headers for the host of `location` alone. `filename` is the last part of the address. `others`
    are further places of the very same file, best first, to be tried when this one fails. `sign_in` says what somebody
    can do when the server gives the file only to those it knows. `piece` is for a file that is a part of another: its
    first byte there, and its size.
    """

    kind: Literal["http", "file"]
    location: str
    filename: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    others: tuple["Source", ...] = ()
    piece: tuple[int, int] | None = None
    sign_in: str = ""
