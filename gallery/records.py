"""LocalAI's records of what was installed from a gallery: `._gallery_<model>.yaml` in the models folder."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from localai_admin.lib import yaml
from localai_admin.lib.files import read_small
from localai_admin.lib.paths import is_plain

log = logging.getLogger(__name__)

PREFIX, SUFFIX = "._gallery_", ".yaml"
#: A record that is larger is not read. Bytes.
MAX_BYTES = 4 << 20
_ENTRY_LINE = re.compile(
    r"^entry_name: (?!(?i:true|false|null|yes|no|on|off|y|n)$)([A-Za-z][\w./-]*)$", re.MULTILINE | re.ASCII
)


@dataclass(frozen=True)
class Listing:
    """What the folder holds, by the stem of the files' names (`a/b` is `a__b`): records with their SHA-256."""

    records: Mapping[str, str]
    configs: frozenset[str]


class Records:
    """The records of one folder, for as long as the process lives; a file is read when it is new or changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._parsed: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, tuple[str, ...]] = {}
        self._lock = Lock()

    def look(self) -> Listing:
        """Nothing when the folder is not there."""
        with self._lock:
            known, configs = {}, set()
            for item in _items(self.folder):
                if not item.name.startswith("."):
                    configs.add(item.name.removesuffix(SUFFIX))
                elif item.name.startswith(PREFIX) and (found := self._digest(item)):
                    known[item.name.removeprefix(PREFIX).removesuffix(SUFFIX)] = found
            self._known = known
            here = {digest for _, digest in known.values()}
            self._parsed = {digest: data for digest, data in self._parsed.items() if digest in here}
            self._entries = {digest: names for digest, names in self._entries.items() if digest in here}
            return Listing({stem: digest for stem, (_, digest) in known.items()}, frozenset(configs))

    def data(self, stem: str, digest: str) -> Mapping[str, Any]:
        """What the record says; nothing when it cannot be read."""
        if digest not in self._parsed:
            self._parsed[digest] = read(self.folder, stem)
        return self._parsed[digest]

    def entries(self, stem: str, digest: str) -> tuple[str, ...]:
        """The names an entry may have that the model was installed from; see `entries_named`."""
        if digest not in self._entries:
            self._entries[digest] = self._named(stem, digest)
        return self._entries[digest]

    def _named(self, stem: str, digest: str) -> tuple[str, ...]:
        """The line is found without reading the YAML, where it is written as LocalAI and this console write it."""
        try:
            found = _ENTRY_LINE.search(_text(self.folder, stem))
        except (OSError, UnicodeDecodeError):
            return ()
        return (found[1],) if found else entries_named(self.data(stem, digest), stem)

    def _digest(self, item: "os.DirEntry[str]") -> tuple[tuple[int, int, int], str] | None:
        stem = item.name.removeprefix(PREFIX).removesuffix(SUFFIX)
        try:
            status = item.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(stem)
            if known and known[0] == signature:
                return known
            return signature, digest_of(Path(item.path))
        except OSError:
            return None  # gone since it was listed


def _items(folder: Path) -> "Iterator[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            yield from (item for item in found if item.name.endswith(SUFFIX) and is_plain(item.name))
    except OSError:
        return


def mentions(folder: Path, stem: str, entry: Mapping[str, Any]) -> bool:
    """Whether the names and digests of all the entry's files stand in the record, without reading its YAML."""
    try:
        text = _text(folder, stem).lower()
    except (OSError, UnicodeDecodeError):
        return False
    told = [str(file.get(key) or "") for file in _maps(entry.get("files")) for key in ("filename", "sha256")]
    return all(word.lower() in text for word in told)


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def digest_of(path: Path) -> str:
    """SHA-256 of a record as it is on the disk. Raises OSError, also for what cannot be a record."""
    return hashlib.sha256(read_small(path, MAX_BYTES, path.parent)).hexdigest()


def _text(folder: Path, stem: str) -> str:
    """Raises OSError, UnicodeDecodeError."""
    return read_small(folder / f"{PREFIX}{stem}{SUFFIX}", MAX_BYTES, folder).decode()


def read(folder: Path, stem: str) -> dict[str, Any]:
    """What a record says; an empty map when there is none, or none that can be read."""
    path = folder / f"{PREFIX}{stem}{SUFFIX}"
    try:
        content = yaml.load(_text(folder, stem), max_bytes=MAX_BYTES, duplicate_keys="last")
    except FileNotFoundError:
        return {}
    except (yaml.YamlError, OSError, UnicodeDecodeError) as error:
        log.warning("The gallery record %s cannot be read: %s", path.name, error)
        return {}
    return content if isinstance(content, dict) else {}


def entries_named(data: Mapping[str, Any], stem: str) -> tuple[str, ...]:
    """The entry it was installed from. Older records do not say: then it is the model's name, in both its spellings."""
    said = data.get("entry_name")
    if isinstance(said, str) and said.strip():
        return (said.strip(),)
    return tuple(dict.fromkeys((stem, stem.replace("__", "/"))))
