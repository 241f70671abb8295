"""Which models there are by name: the configured ones first, then loose files that no configuration claims."""

import os
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import re2

from localai_admin.lib.paths import is_plain
from models.configs import ModelConfig
from models.usecases import USECASES

#: Is the model of this name listed? The configuration is None for a loose file.
Filter = Callable[[str, ModelConfig | None], bool]

#: A pattern that is longer is refused. Characters.
MAX_PATTERN = 500

_NOT_MODELS = frozenset({"model_card", "readme", "readme.md"})
_NOT_MODEL_ENDINGS = (
    ".tmpl",
    ".keep",
    ".yaml",
    ".yml",
    ".json",
    ".txt",
    ".md",
    ".ds_store",
    ".",
    ".partial",
    ".tar.gz",
)


class LooseFilePolicy(StrEnum):
    """What a listing does with model files that lie in the folder, beside the configured models."""

    LOOSE_ONLY = "loose_only"
    SKIP_IF_CONFIGURED = "skip_if_configured"
    SKIP_ALWAYS = "skip_always"
    ALWAYS_INCLUDE = "always_include"


class FilterInvalid(ValueError):
    """A filter that cannot be understood, in a sentence. A retry does not help."""

    retry: ClassVar[bool] = False


def list_models(
    configs: Iterable[ModelConfig],
    loose: Iterable[str],
    keep: Filter | None = None,
    policy: LooseFilePolicy = LooseFilePolicy.SKIP_IF_CONFIGURED,
) -> list[str]:
    """Names, each once: configured models by name, then loose files by name.

    `loose` is what `loose_files` gives. A file that any configuration refers to is claimed, also when `keep` hides that
    configuration; only ALWAYS_INCLUDE lists claimed files.
    """
    known = list(configs)
    wanted = keep or _everything
    names = [] if policy is LooseFilePolicy.LOOSE_ONLY else sorted(c.name for c in known if wanted(c.name, c))
    if policy is LooseFilePolicy.SKIP_ALWAYS:
        return names
    hidden = set(names) if policy is LooseFilePolicy.ALWAYS_INCLUDE else claimed_files(known)
    return names + sorted(file for file in set(loose) - hidden if wanted(file, None))


def claimed_files(configs: Iterable[ModelConfig]) -> set[str]:
    """Every file that a configuration refers to, and the configured names: a file called so is no other model."""
    claimed: set[str] = set()
    for config in configs:
        claimed |= config.files
        claimed.add(config.name)
    return claimed


def loose_files(folder: Path) -> list[str]:
    """Names of the files directly in the folder that may be models, sorted; none when there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(_models_among(entries, folder))
    except FileNotFoundError:
        return []


def _models_among(entries: Iterator["os.DirEntry[str]"], folder: Path) -> Iterator[str]:
    for entry in entries:
        if may_be_model(entry.name) and entry.is_file() and not _leads_out(entry, folder):
            yield entry.name


def may_be_model(name: str) -> bool:
    """Whether a loose file of this name is listed; text, templates, archives, copies and half files are not."""
    lower = name.lower()
    if not is_plain(name) or lower.startswith(".") or ".bak" in lower:
        return False
    return not (lower in _NOT_MODELS or lower.endswith(_NOT_MODEL_ENDINGS))


def _leads_out(entry: "os.DirEntry[str]", folder: Path) -> bool:
    return entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(folder.resolve())


def name_filter(pattern: str) -> Filter | None:
    """Names in which the regular expression (RE2 syntax) is found; no pattern is no filter. Raises FilterInvalid."""
    if not pattern:
        return None
    if len(pattern) > MAX_PATTERN:
        raise FilterInvalid(f"The filter has {len(pattern)} characters; it may have {MAX_PATTERN}.")
    options = re2.Options()
    options.log_errors = False
    try:
        # RE2 runs in linear time: a pattern from outside cannot keep the process busy.
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise FilterInvalid(f"The filter {pattern!r} is not a regular expression: {reason}.") from error
    return lambda name, _config: compiled.search(name) is not None


def usecase_filter(usecase: str) -> Filter | None:
    """Configured models with this use case; none given is no filter. Loose files have none. Raises FilterInvalid."""
    word = usecase.strip().lower().removeprefix("flag_")
    if not word:
        return None
    if word not in USECASES:
        raise FilterInvalid(f"There is no use case {usecase!r}; there are {', '.join(USECASES)}.")
    return lambda _name, config: config is not None and word in config.usecases


def all_of(*filters: Filter | None) -> Filter | None:
    """What every one of the filters keeps."""
    given = [keep for keep in filters if keep]
    return (lambda name, config: all(keep(name, config) for keep in given)) if given else None


def _everything(_name: str, _config: ModelConfig | None) -> bool:
    return True
