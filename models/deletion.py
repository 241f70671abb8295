"""What goes when a model is deleted, worked out before anything is touched; and the deleting itself."""

import logging
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from localai_admin.lib import yaml
from localai_admin.lib.files import atomic_write, read_small
from localai_admin.lib.paths import UnsafePath, file_name_for_model, inside, is_model_name
from models.config_folder import ConfigFolder
from models.configs import ConfigInvalid, ModelConfig, parse
from models.listing import loose_files
from models.references import relative_name

log = logging.getLogger(__name__)

#: A gallery record that is larger is not read. Bytes.
_RECORD_BYTES = 4 << 20
_RECORD_PREFIX = "._gallery_"


class DeletionError(Exception):
    """A model that cannot be deleted, in a sentence."""

    retry: ClassVar[bool] = False


class NoSuchModel(DeletionError):
    """Neither a configuration nor a loose file nor a gallery record has the name."""


class DeletionFailed(DeletionError):
    """The file system refused; what is gone is gone, and a second try goes on from there."""

    retry: ClassVar[bool] = True


@dataclass(frozen=True)
class DeletionPreview:
    """What deleting a model would do. Every path is relative to the models folder.

    `files` go, with their bytes, the configuration first and the gallery record last. `shared` stay, each with the
    names of the other models that use it. `rewritten` is a configuration file that holds other models, too, and only
    loses this one. `needed_by` are models that will not work without it: another name for it, or a pipeline. A file
    with a second name elsewhere goes, but frees nothing.
    """

    name: str
    files: list[tuple[str, int]]
    shared: list[tuple[str, list[str]]]
    bytes_freed: int
    rewritten: str = ""
    needed_by: tuple[str, ...] = ()


def plan_deletion(folder: ConfigFolder, name: str, earlier: Collection[str] = ()) -> DeletionPreview:
    """Work out what only this model uses, from every other configuration and gallery record in the folder.

    `earlier` are the files that a deletion which was broken off had set out to remove: what told of them may be gone.
    Raises NoSuchModel.
    """
    root = folder.path
    config = folder.get(name)
    labels = {file_name_for_model(name)} if is_model_name(name) else set()
    labels |= {config.path.stem} if config else set()
    named = {f"{_RECORD_PREFIX}{label}.yaml" for label in labels}
    named |= {file for file in earlier if file.startswith(_RECORD_PREFIX)}
    records = sorted(file for file in named if (root / file).is_file())
    left = set(_existing(root, earlier))
    if config or records:
        first = [config.path.name] if config else []
        mentioned = set(config.files if config else ()).union(*(_listed_in(root / file) for file in records))
    elif name in loose_files(root):
        first, mentioned = [name], {f"{name}.tmpl"}
    elif left:
        first, mentioned = [], set()
    else:
        raise NoSuchModel(f"There is no model {name!r} in the models folder; it may have been deleted already.")
    middle = sorted((set(_existing(root, mentioned)) | left) - set(first) - set(records) - folder.ignored)
    candidates = [*first, *middle, *records]
    users = _users(folder, candidates, config, set(records))
    files = [(file, size) for file in candidates if file not in users and (size := _size(root, file)) is not None]
    shared = [(file, sorted(users[file])) for file in candidates if file in users]
    rewritten = config.path.name if config and config.path.name in users else ""
    needed_by = tuple(other.name for other in folder.all() if other is not config and name in other.models)
    return DeletionPreview(name, files, shared, _freed(root, files), rewritten, needed_by)


def users_of(folder: ConfigFolder, names: Collection[str], but: str = "") -> dict[str, list[str]]:
    """Which models need the files (relative names, there or not), apart from the model called `but`.

    A file that nobody needs is not in the answer.
    """
    config = folder.get(but) if but else None
    labels = {file_name_for_model(but)} if but and is_model_name(but) else set()
    labels |= {config.path.stem} if config else set()
    users = _users(folder, list(names), config, {f"{_RECORD_PREFIX}{label}.yaml" for label in labels})
    return {name: sorted(users[name]) for name in names if name in users}


def _users(
    folder: ConfigFolder, candidates: list[str], config: ModelConfig | None, records: set[str]
) -> dict[str, set[str]]:
    """Which of the candidates somebody else needs, and who. A file is needed, too, when a folder above it is."""
    below: dict[str, set[str]] = defaultdict(set)
    for file in candidates:
        for part in [file, *_parents(file)]:
            below[part].add(file)
    users: dict[str, set[str]] = defaultdict(set)
    needs = [_needs_of_configs(folder, config), _needs_of_records(folder.path, records, list(below))]
    for user, name in chain.from_iterable(needs):
        for file in below.get(name, ()):
            users[file].add(user)
    return dict(users)


def _needs_of_configs(folder: ConfigFolder, config: ModelConfig | None) -> Iterator[tuple[str, str]]:
    """(model, file) of every other configuration, the configuration's own file included; also of unreadable ones."""
    for other in [*folder.all(), *folder.rejected()]:
        if other is not config:
            yield other.name, other.path.name
            yield from ((other.name, target) for file in _needed_by(other) for target in targets(folder.path, file))
    for problem in folder.problems:
        if not config or problem.path != config.path:
            yield problem.path.name, problem.path.name


def _needed_by(config: ModelConfig) -> frozenset[str]:
    """A model that another one needs may be a loose file."""
    return config.files | {name for model in config.models if (name := relative_name(model))}


def _needs_of_records(root: Path, own: set[str], candidates: list[str]) -> Iterator[tuple[str, str]]:
    """(model, file) of every other gallery record that mentions one of the candidates, and the record itself."""
    terms = {Path(candidate).name for candidate in candidates}
    for path in sorted(root.glob(f"{_RECORD_PREFIX}*.yaml")):
        if path.name in own:
            continue
        owner = path.stem.removeprefix(_RECORD_PREFIX)
        yield owner, path.name
        yield from ((owner, target) for name in _listed_in(path, terms) for target in targets(root, name))


def targets(root: Path, name: str) -> list[str]:
    """The name, and where it leads when it is a link inside the folder, or when a folder on the way is one."""
    # Asked for every file of every model; Path costs four times as much.
    way = (name, *_parents(name)) if "/" in name else (name,)
    if not any(os.path.islink(f"{root}/{part}") for part in way):  # noqa: PTH114
        return [name]
    target = (root / name).resolve()
    return [name, target.relative_to(root.resolve()).as_posix()] if target.is_relative_to(root.resolve()) else [name]


def _listed_in(record: Path, terms: set[str] | None = None) -> frozenset[str]:
    """The files and templates a gallery record lists; nothing when it is unreadable.

    With `terms`, a record that contains none of them is not parsed: reading is cheap, YAML is not. One with a backslash
    may spell a name with escapes.
    """
    try:
        text = read_small(record, _RECORD_BYTES, record.parent).decode()
        if terms is not None and "\\" not in text and not any(term in text for term in terms):
            return frozenset()
        return names_in_record(yaml.load(text, max_bytes=_RECORD_BYTES, duplicate_keys="last"))
    except (yaml.YamlError, OSError, UnicodeDecodeError) as error:
        log.warning("The gallery record %s cannot be read: %s", record.name, error)
        return frozenset()


def names_in_record(content: object) -> frozenset[str]:
    """The files and templates that the content of a gallery record lists."""
    if not isinstance(content, Mapping):
        return frozenset()
    files = [item.get("filename") for item in _maps(content.get("files"))]
    templates = [f"{item['name']}.tmpl" for item in _maps(content.get("prompt_templates")) if item.get("name")]
    return frozenset(name for value in [*files, *templates] if (name := relative_name(value)))


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _existing(root: Path, names: Iterable[str]) -> Iterator[str]:
    """Those of the names that are files in the folder; of a folder, every file below it."""
    for name in names:
        # What is hidden is the console's own, such as the bytes of a download; no configuration may point at it.
        if (name.startswith(".") and not name.startswith(_RECORD_PREFIX)) or (found := _lstat(root, name)) is None:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _files_below(root, name)
        else:
            yield name


def _files_below(root: Path, name: str) -> Iterator[str]:
    for parent, _, files in os.walk(root / name):
        yield from (Path(parent, file).relative_to(root).as_posix() for file in files)


def _size(root: Path, name: str) -> int | None:
    found = _lstat(root, name)
    return found.st_size if found else None


def _freed(root: Path, files: list[tuple[str, int]]) -> int:
    """Bytes that become free when all of these names go: what has another name as well stays on the disk."""
    names: dict[tuple[int, int], int] = defaultdict(int)
    total = 0
    for file, size in files:
        if (found := _lstat(root, file)) is None:
            continue
        inode = (found.st_dev, found.st_ino)
        names[inode] += 1
        total += size if names[inode] == found.st_nlink else 0
    return total


def _lstat(root: Path, name: str) -> os.stat_result | None:
    """None when it is not there, or when a link on the way leads out of the folder."""
    try:
        return inside(root, name).lstat()
    except (OSError, UnsafePath):
        return None


def delete_files(preview: DeletionPreview, models_path: Path) -> None:
    """Delete what the preview lists: the configuration first, so that nobody sees a model whose files are going.

    What is gone already is fine: a second call finishes what a first one left. Raises DeletionFailed.
    """
    try:
        if preview.rewritten:
            _take_out(models_path, preview.rewritten, preview.name)
        for name, _ in preview.files:
            inside(models_path, name).unlink(missing_ok=True)
    except UnsafePath as error:
        raise DeletionFailed(f"{error} It stays, and the rest with it; look at the folder, then try again.") from error
    except OSError as error:
        raise DeletionFailed(
            f"{error.filename or preview.name} cannot be deleted: {error.strerror}. "
            "Check the rights on the models folder, then try again."
        ) from error
    for folder in sorted({parent for name, _ in preview.files for parent in _parents(name)}, key=len, reverse=True):
        _remove_if_empty(models_path / folder)


def _parents(name: str) -> list[str]:
    return [parent.as_posix() for parent in Path(name).parents if parent.as_posix() != "."]


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        log.debug("%s stays: it is not empty, or not there", folder)


def _take_out(root: Path, file: str, name: str) -> None:
    """Write the configuration file again without this model; the new file takes the place of the old in one step."""
    path = inside(root, file)
    try:
        kept = [config.data for config in parse(path.read_text(encoding="utf-8"), path) if config.name != name]
    except ConfigInvalid as error:
        raise DeletionFailed(f"{error} It was changed in the meantime; look at it, then try again.") from error
    atomic_write(path, yaml.dump(kept).encode(), stat.S_IMODE(path.stat().st_mode))
