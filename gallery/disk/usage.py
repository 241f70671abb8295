"""Which models use which files of the models folder, from every configuration and every gallery record at once.

For one model `models.deletion` works out the same; a page about all of them asks for everything in one go.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock

from gallery.disk.walk import Found
from gallery.records import MAX_BYTES, PREFIX, SUFFIX
from localai_admin.lib import yaml
from localai_admin.lib.files import read_small
from localai_admin.lib.paths import file_name_for_model, is_model_name
from models.config_folder import ConfigFolder
from models.deletion import names_in_record, targets
from models.listing import may_be_model

log = logging.getLogger(__name__)

#: Names of models by the name of a file.
Users = Mapping[str, frozenset[str]]


class Listed:
    """The files that the gallery records of a folder list, for as long as the process lives.

    A record is read when it is new or changed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}
        self._lock = Lock()

    def read(self, found: Iterable[Found]) -> dict[str, frozenset[str]]:
        """The listed names by the stem of the record (`a/b` is `a__b`)."""
        with self._lock:
            self._known = {
                file.name: self._one(file)
                for file in found
                if file.name.startswith(PREFIX) and file.name.endswith(SUFFIX) and "/" not in file.name
            }
            return {name.removeprefix(PREFIX).removesuffix(SUFFIX): names for name, (_, names) in self._known.items()}

    def _one(self, file: Found) -> tuple[tuple[int, int, int], frozenset[str]]:
        signature = (file.mtime_ns, file.size, file.inode[1])
        known = self._known.get(file.name)
        return known if known and known[0] == signature else (signature, self._parsed(file.name))

    def _parsed(self, name: str) -> frozenset[str]:
        try:
            text = read_small(self.root / name, MAX_BYTES, self.root).decode()
            return names_in_record(yaml.load(text, max_bytes=MAX_BYTES, duplicate_keys="last"))
        except (yaml.YamlError, OSError, UnicodeDecodeError) as error:
            log.warning("The gallery record %s cannot be read: %s", name, error)
            return frozenset()


def users_of(found: Sequence[Found], folder: ConfigFolder, listed: Mapping[str, frozenset[str]]) -> dict[str, set[str]]:
    """Who uses each of the files that somebody uses; also models that are not valid, by the name they would have.

    What a link inside the folder leads to is used, too.
    A loose file that is listed as a model is used by the model of its own name when nobody else uses it.
    """
    needs: dict[str, set[str]] = defaultdict(set)
    links = {file.name for file in found if file.is_link}
    for user, name in _needs(folder, listed):
        for target in targets(folder.path, name) if not links.isdisjoint(_with_parents(name)) else (name,):
            needs[target].add(user)
    users: dict[str, set[str]] = {}
    for file in found:
        if using := [needs[name] for name in _with_parents(file.name) if name in needs]:
            users[file.name] = using[0] if len(using) == 1 else set().union(*using)
    _add_loose(found, users)
    return users


def _needs(folder: ConfigFolder, listed: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    """(model, name of a file or folder)."""
    names: dict[str, str] = {}
    for config in [*folder.rejected(), *folder.all()]:
        stem = file_name_for_model(config.name) if is_model_name(config.name) else config.path.stem
        names |= {stem: config.name, config.path.stem: names.get(config.path.stem, config.name)}
        yield config.name, config.path.name
        yield from ((config.name, name) for name in config.files | config.models)
    # What is no configuration anybody can read may become one again.
    yield from (("", problem.path.name) for problem in folder.problems)
    for stem, files in listed.items():
        owner = names.get(stem, stem)
        yield owner, f"{PREFIX}{stem}{SUFFIX}"
        yield from ((owner, name) for name in files)
    # Indexes of galleries that lie in the folder.
    yield from (("", name) for name in folder.ignored)


def _with_parents(name: str) -> Iterator[str]:
    yield name
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _add_loose(found: Sequence[Found], users: dict[str, set[str]]) -> None:
    here = {file.name for file in found}
    for file in found:
        if file.name not in users and is_loose(file.name):
            users[file.name] = {file.name}
            template = f"{file.name}.tmpl"
            if template in here and template not in users:
                users[template] = {file.name}


def is_loose(name: str) -> bool:
    """Whether a file that no configuration names is listed as a model of its own."""
    return "/" not in name and may_be_model(name) and not os.path.basename(name).startswith(".")  # noqa: PTH119
