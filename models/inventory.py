"""The models of this console's folder, each with its files, their sizes, and its instance on this node."""

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from django.conf import settings

from models.config_folder import ConfigFolder, Problem
from models.configs import ModelConfig
from models.deletion import DeletionPreview, plan_deletion, users_of
from models.listing import Filter, LooseFilePolicy, claimed_files, list_models, loose_files
from models.models import Instance
from models.references import WEIGHTS


class ModelFile(NamedTuple):
    """A file or folder of a model, relative to the models folder; the size in bytes is None when it is not there."""

    name: str
    size: int | None


class _Found(NamedTuple):
    """What the models folder holds under a name."""

    size: int
    modified: datetime
    is_folder: bool


@dataclass(frozen=True)
class ModelRow:
    """A model: a configured one with its configuration, or a loose file, which has none.

    `size` is the bytes of all its files that are here, None when none is. Files that other models use, too, count.
    """

    name: str
    config: ModelConfig | None
    files: tuple[ModelFile, ...]
    modified: datetime | None
    instance: Instance | None

    @property
    def configured(self) -> bool:
        return self.config is not None

    @property
    def is_loose(self) -> bool:
        return self.config is None

    @property
    def backend(self) -> str:
        """Empty when the choice is left open."""
        return self.config.backend if self.config else ""

    @property
    def usecases(self) -> list[str]:
        return sorted(self.config.usecases) if self.config else []

    @property
    def context_size(self) -> int | None:
        return self.config.context_size if self.config else None

    @property
    def description(self) -> str:
        return self.config.description if self.config else ""

    @property
    def disabled(self) -> bool:
        return self.config is not None and self.config.disabled

    @property
    def config_path(self) -> Path | None:
        return self.config.path if self.config else None

    @property
    def size(self) -> int | None:
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if sizes else None

    @property
    def missing(self) -> list[str]:
        """Model files that the configuration names and that are not here."""
        return [file.name for file in self.files if file.size is None]


def config_folder() -> ConfigFolder:
    """The configurations of this console's models folder, shared by the whole process."""
    return _folder(Path(settings.MODELS_PATH), _indexes_in(Path(settings.MODELS_PATH)))


@lru_cache(maxsize=8)
def _folder(path: Path, ignored: frozenset[str]) -> ConfigFolder:
    return ConfigFolder(path, ignored)


def _indexes_in(folder: Path) -> frozenset[str]:
    """Names of gallery indexes that lie in the models folder: YAML, but no models."""
    urls = [str(gallery.get("url", "")) for gallery in settings.GALLERIES if isinstance(gallery, Mapping)]
    # Looked at first: what is no address at all is named where galleries are read.
    files = [urlsplit(url) for url in urls if url.startswith("file:///")]
    paths = [Path(unquote(url.path)) for url in files]
    return frozenset(path.name for path in paths if path.parent == folder)


def names(keep: Filter | None = None, policy: LooseFilePolicy = LooseFilePolicy.SKIP_IF_CONFIGURED) -> list[str]:
    """The names LocalAI's model listing gives; see `models.listing.list_models`."""
    return list_models(config_folder().all(), loose_files(settings.MODELS_PATH), keep, policy)


def problems() -> list[Problem]:
    """(path, sentence) for every configuration that is not used."""
    return config_folder().problems


def inventory() -> list[ModelRow]:
    """Every model, configured ones by name, then loose files by name. One query, one look at the folder."""
    instances = {instance.name: instance for instance in Instance.objects.on_this_node()}
    configs = config_folder().all()
    there = _listing(settings.MODELS_PATH)
    claimed = claimed_files(configs)
    loose = [name for name in loose_files(settings.MODELS_PATH) if name not in claimed]
    return [
        *(_configured_row(config, there, instances.get(config.name)) for config in configs),
        *(_loose_row(name, there, instances.get(name)) for name in loose),
    ]


def model_row(name: str) -> ModelRow | None:
    """One model, as in `inventory`; None when nothing here has the name."""
    configs = config_folder()
    config = configs.get(name)
    if config is None and (name not in loose_files(settings.MODELS_PATH) or name in claimed_files(configs.all())):
        return None
    instance = Instance.objects.on_this_node().filter(name=name).first()
    return _configured_row(config, {}, instance) if config else _loose_row(name, {}, instance)


def deletion_preview(name: str, earlier: Collection[str] = ()) -> DeletionPreview:
    """What deleting the model would remove and keep. Raises models.deletion.NoSuchModel.

    `earlier` are the files that a deletion which was broken off had set out to remove.
    """
    return plan_deletion(config_folder(), name, earlier)


def file_users(names: Collection[str], but: str = "") -> dict[str, list[str]]:
    """Which models need the files of these names, apart from the one called `but`; see `models.deletion.users_of`."""
    return users_of(config_folder(), names, but)


def _configured_row(config: ModelConfig, there: Mapping[str, _Found], instance: Instance | None) -> ModelRow:
    written = _find(config.path.name, there)
    files = []
    for name in sorted(config.files):
        if found := _find(name, there):
            files.append(ModelFile(name, _folder_size(name) if found.is_folder else found.size))
        elif name.lower().endswith(WEIGHTS):
            # What a backend resolves itself, such as the name of a repository, is not a file that is missing.
            files.append(ModelFile(name, None))
    return ModelRow(config.name, config, tuple(files), written.modified if written else None, instance)


def _loose_row(name: str, there: Mapping[str, _Found], instance: Instance | None) -> ModelRow:
    found = _find(name, there)
    files = (ModelFile(name, found.size if found else None),)
    return ModelRow(name, None, files, found.modified if found else None, instance)


def _find(name: str, there: Mapping[str, _Found]) -> _Found | None:
    """From the listing of the folder, where there is one: names without a folder are asked for only once."""
    if there and "/" not in name:
        return there.get(name)
    try:
        return _found((Path(settings.MODELS_PATH) / name).stat())
    except OSError:
        return None


def _listing(folder: Path) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found[entry.name] = _found(entry.stat())
                except OSError:
                    continue  # gone since it was listed, or a link to nothing
    except FileNotFoundError:
        pass
    return found


def _found(status: os.stat_result) -> _Found:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return _Found(status.st_size, modified, stat.S_ISDIR(status.st_mode))


def _folder_size(name: str) -> int:
    """Bytes of every file below a folder; links are not followed."""
    total = 0
    for parent, _, files in os.walk(Path(settings.MODELS_PATH) / name):
        for file in files:
            try:
                total += Path(parent, file).lstat().st_size
            except OSError:
                continue
    return total
