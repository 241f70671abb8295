"""What is remembered of a download between two workers, in one small file beside the bytes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from localai_admin.lib.files import atomic_write

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class FileState:
    """`synced` bytes are surely on the disk; `pieces` counts the connections the bytes came by.

    `verified` is the digest of the whole file once it is complete. `here` is size and time of the file in the models
    folder that was found to be the right one already.
    """

    part: str
    uri: str
    sha256: str
    validator: str = ""
    total: int | None = None
    synced: int = 0
    pieces: int = 0
    verified: str = ""
    here: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Move:
    """A file that goes from the job's folder to its place; what was in that place waits in `backup`."""

    source: str
    target: str
    backup: str


@dataclass
class State:
    path: Path
    boot: str = ""
    files: dict[str, FileState] = field(default_factory=dict)
    #: Not empty while files are being put in place: what to take back when the worker died in the middle.
    moves: list[Move] = field(default_factory=list)
    #: Folders of the models folder that are made for it.
    made: list[str] = field(default_factory=list)
    #: Everything is in place.
    committed: bool = False

    @classmethod
    def load(cls, path: Path) -> "State":
        """The state as saved; an empty one when there is none, or none that can be read."""
        try:
            data: dict[str, Any] = json.loads(path.read_bytes())
            return cls(
                path,
                data["boot"],
                {name: FileState(**file) for name, file in data["files"].items()},
                [Move(**move) for move in data["moves"]],
                list(data["made"]),
                bool(data["committed"]),
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, boot_id())

    def save(self) -> None:
        """Raises OSError."""
        data = {name: value for name, value in asdict(self).items() if name != "path"}
        atomic_write(self.path, json.dumps(data).encode(), 0o600)

    def survived_power(self) -> bool:
        """Whether the machine has run since the state was saved, so that bytes written but not synced are there."""
        return bool(self.boot) and self.boot == boot_id()


def boot_id() -> str:
    """Another text after each start of the machine; empty where that cannot be known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
