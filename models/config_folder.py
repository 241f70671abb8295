"""Every model configuration in a folder, read once and again only when its file changes."""

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from localai_admin.lib.paths import is_plain
from models.configs import MAX_BYTES, ConfigInvalid, ModelConfig, parse, validate

log = logging.getLogger(__name__)


class Problem(NamedTuple):
    """A file, or one configuration in it, that is not used, and why, in a sentence."""

    path: Path
    sentence: str


class _Signature(NamedTuple):
    """What changes when a file does. The inode is in it because files are replaced whole."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int


@dataclass(frozen=True)
class _File:
    """What one file holds: `good` is used, `bad` was understood but is not valid."""

    good: tuple[ModelConfig, ...] = ()
    bad: tuple[ModelConfig, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass
class _Snapshot:
    """The folder as of the last look."""

    configs: dict[str, ModelConfig] = field(default_factory=dict)
    rejected: list[ModelConfig] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class ConfigFolder:
    """The configurations of a models folder, for as long as the process lives. Safe to use from several threads.

    Each call looks at the folder again, at the price of one listing; a file is read only when it is new or changed. A
    file that cannot be used is a problem of its own and hides none of the others.
    """

    def __init__(self, path: Path, ignored: frozenset[str] = frozenset()) -> None:
        """`ignored` are names of YAML files in the folder that are something else, such as a gallery's index."""
        self.path = path
        self.ignored = ignored
        self._files: dict[str, tuple[_Signature, _File]] = {}
        self._snapshot = _Snapshot()
        self._lock = threading.Lock()

    def all(self) -> list[ModelConfig]:
        """Every valid configuration, by name."""
        return list(self._look().configs.values())

    def get(self, name: str) -> ModelConfig | None:
        return self._look().configs.get(name)

    def rejected(self) -> list[ModelConfig]:
        """Those that are not used, because they are invalid or their name is taken; their files still count."""
        return list(self._look().rejected)

    @property
    def problems(self) -> list[Problem]:
        """What is wrong in the folder, by file name."""
        return list(self._look().problems)

    def read(self, path: Path) -> str:
        """The text of one file. Raises ConfigInvalid when it is too large or is not text, OSError when it is gone."""
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigInvalid(f"{path.name} is larger than {MAX_BYTES >> 20} MiB, which no configuration is.")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigInvalid(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error

    def _read_inside(self, path: Path) -> str:
        if path.is_symlink() and not path.resolve().is_relative_to(self.path.resolve()):
            raise ConfigInvalid(f"{path.name} is a link out of the models folder; put the file itself there.")
        return self.read(path)

    def _look(self) -> _Snapshot:
        with self._lock:
            found: dict[str, tuple[_Signature, _File]] = {}
            for name, signature in sorted(self._listing()):
                known = self._files.get(name)
                found[name] = known if known and known[0] == signature else (signature, self._load(self.path / name))
            if not _same(found, self._files):
                before, self._snapshot = self._snapshot, _combined(file for _, file in found.values())
                _name_new(self._snapshot.problems, before.problems)
            self._files = found
            return self._snapshot

    def _listing(self) -> Iterator[tuple[str, _Signature]]:
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if self._is_config(entry.name) and (signature := _signature(entry)):
                        yield entry.name, signature
        except FileNotFoundError:
            return

    def _is_config(self, name: str) -> bool:
        return name.endswith((".yaml", ".yml")) and not name.startswith(".") and name not in self.ignored

    def _load(self, path: Path) -> _File:
        if not is_plain(path.name):
            shown = path.with_name(ascii(path.name)[1:-1])
            return _File(
                problems=(Problem(shown, "Its name has a line break or bytes that are not UTF-8; rename it."),)
            )
        try:
            configs = parse(self._read_inside(path), path)
        except ConfigInvalid as error:
            return _File(problems=(Problem(path, str(error)),))
        except OSError as error:
            return _File(problems=(Problem(path, f"{path.name} cannot be read: {error.strerror}."),))
        return _sorted_out(configs)


def _signature(entry: "os.DirEntry[str]") -> _Signature | None:
    """None when it is not a file, or is gone since it was listed."""
    try:
        if not entry.is_file():
            return None
        stat = entry.stat()
    except OSError:
        return None
    return _Signature(stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)


def _same(new: dict[str, tuple[_Signature, _File]], old: dict[str, tuple[_Signature, _File]]) -> bool:
    return len(new) == len(old) and all(old.get(name) is known for name, known in new.items())


def _name_new(problems: list[Problem], before: list[Problem]) -> None:
    known = set(before)
    for problem in problems:
        if problem not in known:
            log.warning("%s is not used: %s", problem.path.name, problem.sentence)


def _sorted_out(configs: list[ModelConfig]) -> _File:
    good, bad, problems = [], [], []
    for config in configs:
        try:
            validate(config.data)
        except ConfigInvalid as error:
            bad.append(config)
            problems.append(Problem(config.path, f"{config.path.name}, model {config.name}: {error}"))
        else:
            good.append(config)
    return _File(tuple(good), tuple(bad), tuple(problems))


def _combined(files: Iterator[_File]) -> _Snapshot:
    """One map by name; of two configurations with the same name the one whose file sorts first is used."""
    result = _Snapshot()
    for file in files:
        result.rejected.extend(file.bad)
        result.problems.extend(file.problems)
        for config in file.good:
            first = result.configs.setdefault(config.name, config)
            if first is not config:
                result.rejected.append(config)
                result.problems.append(
                    Problem(config.path, f"{config.name} is also the name in {first.path.name}; rename one of the two.")
                )
    result.configs = dict(sorted(result.configs.items()))
    return result
