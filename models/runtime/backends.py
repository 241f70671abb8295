"""Which backends are installed: folders `<root>/<name>/run.sh`, as LocalAI lays them out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_METADATA_LIMIT = 64 << 10
#: The backend of a model file in llama.cpp's format.
LLAMA = "llama-cpp"


class BackendMissing(Exception):
    """No backend of that name is installed. A retry does not help: install it, or name another in the configuration."""

    retry = False

    def __init__(self, name: str, paths: Iterable[Path]) -> None:
        looked = ", ".join(str(path) for path in paths) or "no folder at all"
        super().__init__(
            f"There is no backend {name!r} with a run.sh in {looked}. "
            "Install it there, or name another backend in the model's configuration."
        )
        self.name = name


@dataclass(frozen=True)
class BackendFolder:
    """An installed backend. `alias` is the name it also answers to, empty without one."""

    name: str
    run_file: Path
    alias: str = ""
    version: str = ""

    @property
    def folder(self) -> Path:
        return self.run_file.parent


def is_backend_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


def find_backend(name: str, paths: Sequence[Path]) -> BackendFolder:
    """The backend of that name: its folder, else what a meta backend stands for, else one that has it as its alias.

    Earlier paths win. Raises BackendMissing.
    """
    if not is_backend_name(name):
        raise BackendMissing(name, paths)
    if found := _named(name, paths) or _meant(name, paths) or _aliased(name, paths):
        return found
    raise BackendMissing(name, paths)


def list_backends(paths: Sequence[Path]) -> list[BackendFolder]:
    """Every installed backend, by name; of two with one name, the one of the earlier path."""
    found: dict[str, BackendFolder] = {}
    for path in reversed(paths):
        for child in _children(path):
            if backend := _backend(path, child):
                found[child] = backend
    return [found[name] for name in sorted(found)]


def backend_for(configured: str, model_file: str) -> str:
    """The backend a configuration asks for; the one for GGUF files when it names none; empty when nothing tells."""
    if configured:
        return configured
    return LLAMA if model_file.lower().endswith(".gguf") else ""


def _named(name: str, paths: Sequence[Path]) -> BackendFolder | None:
    return next((backend for path in paths if (backend := _backend(path, name))), None)


def _meant(name: str, paths: Sequence[Path]) -> BackendFolder | None:
    """A meta backend is a folder without a run file that names the concrete one."""
    for path in paths:
        concrete = _text(_metadata(path / name), "meta_backend_for")
        if is_backend_name(concrete) and (backend := _named(concrete, paths)):
            return backend
    return None


def _aliased(name: str, paths: Sequence[Path]) -> BackendFolder | None:
    return next((backend for backend in list_backends(paths) if backend.alias == name), None)


def _backend(root: Path, name: str) -> BackendFolder | None:
    run_file = root / name / "run.sh"
    try:
        resolved = run_file.resolve(strict=True)
        inside = resolved.is_relative_to(root.resolve(strict=True)) and resolved.is_file()
    except (OSError, RuntimeError):
        return None
    if not inside:
        return None
    metadata = _metadata(root / name)
    return BackendFolder(name, run_file, alias=_text(metadata, "alias"), version=_text(metadata, "version"))


def _children(root: Path) -> list[str]:
    try:
        return sorted(child.name for child in root.iterdir() if is_backend_name(child.name))
    except OSError:
        return []


def _metadata(folder: Path) -> Mapping[str, Any]:
    """What metadata.json says; nothing when it is missing or no good, for a backend runs without it."""
    try:
        with (folder / "metadata.json").open("rb") as file:
            parsed = json.loads(file.read(_METADATA_LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""
