"""What is remembered of a download between two workers, in one small file beside the bytes."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gallery.downloads.places import PREVIOUS
from localai_admin.lib.files import atomic_write, read_small

_MOST_BYTES = 64 << 20
#: What a worker makes in the folder of a job: bytes of a file, a text, what was in an archive.
_OWN = re.compile(r"(?:[0-9a-f]{16}\.part|[0-9]+\.text|unpacked/[0-9]+/(?:link-)?[0-9]+)")
_BACKUP = re.compile(rf"(?:{_OWN.pattern}|[0-9]+)\.before")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class FileState:
    """`synced` are the ranges of bytes that are surely on the disk, of the version `validator` and the size `total`;
    `pieces` counts the connections the bytes came by. What was written since, the journal beside the bytes knows.

    `verified` is the digest of the whole file once it is complete. `here` is size and time of the file in the models
    folder that was found to be the right one already.
    """

    part: str
    uri: str
    sha256: str
    validator: str = ""
    total: int | None = None
    synced: list[list[int]] = field(default_factory=list)
    pieces: int = 0
    verified: str = ""
    here: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Move:
    """A file that goes from the job's folder to its place; what was in that place waits in `backup`.

    A source in `.previous/` is that of an earlier revision, and relative to the models folder.
    """

    source: str
    target: str
    backup: str


@dataclass(frozen=True)
class Keep:
    """What is taken out of the way once everything is in place; both names are relative to the models folder."""

    source: str
    target: str


@dataclass
class State:
    path: Path
    boot: str = ""
    files: dict[str, FileState] = field(default_factory=dict)
    #: Not empty while files are being put in place: what to take back when the worker died in the middle.
    moves: list[Move] = field(default_factory=list)
    #: Folders of the models folder that are made for it.
    made: list[str] = field(default_factory=list)
    #: Not empty from the commit on until they are made: what to go on with when the worker died in the middle.
    keeps: list[Keep] = field(default_factory=list)
    #: Everything is in place.
    committed: bool = False

    @classmethod
    def load(cls, path: Path) -> "State":
        """The state as saved; an empty one when there is none, or none that can be read."""
        try:
            data: dict[str, Any] = json.loads(read_small(path, _MOST_BYTES, path.parent))
            state = cls(
                path,
                data["boot"],
                {name: FileState(**file) for name, file in data["files"].items()},
                [Move(**move) for move in data["moves"]],
                list(data["made"]),
                [Keep(**keep) for keep in data.get("keeps", ())],
                bool(data["committed"]),
            )
            state.check_names()
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls(path, boot_id())
        return state

    def check_names(self) -> None:
        """Whether every name stays where it belongs: others may write into the models folder. Raises ValueError."""
        parts = [file.part for file in self.files.values()]
        sources = [move.source for move in self.moves if not move.source.startswith(f"{PREVIOUS}/")]
        if not all(map(_OWN.fullmatch, [*parts, *sources])):
            raise ValueError("bytes that are not in the folder of the job")
        if not all(_BACKUP.fullmatch(move.backup) for move in self.moves):
            raise ValueError("something kept that is not in the folder of the job")
        if not all(keep.target.startswith(f"{PREVIOUS}/") for keep in self.keeps):
            raise ValueError("something kept for a way back that is not kept there")
        kept = [name for keep in self.keeps for name in (keep.source, keep.target)]
        moved = [name for move in self.moves for name in (move.source, move.target)]
        if any(name.startswith("/") or ".." in name.split("/") for name in [*self.made, *kept, *moved]):
            raise ValueError("a name that leads out of the models folder")

    def save(self) -> None:
        """Raises OSError."""
        data = {name: value for name, value in vars(self).items() if name != "path"}
        atomic_write(self.path, json.dumps(data, default=vars).encode(), 0o600)

    def survived_power(self) -> bool:
        """Whether the machine has run since the state was saved, so that bytes written but not synced are there."""
        return bool(self.boot) and self.boot == boot_id()


def boot_id() -> str:
    """Another text after each start of the machine; empty where that cannot be known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
