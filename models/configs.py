"""A model's configuration: what a YAML file in the models folder says. Read, validate, merge, write."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from localai_admin.lib import yaml
from localai_admin.lib.plain import list_at, map_at
from models.references import referenced_files, referenced_models
from models.usecases import usecases

__all__ = ["MAX_BYTES", "ConfigInvalid", "ModelConfig", "merge", "parse", "referenced_files", "render", "validate"]

#: A configuration file that is larger is not read. Bytes.
MAX_BYTES = 1 << 20

_BACKEND_NAME = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAPS = ("parameters", "template", "diffusers", "tts", "function", "grpc", "pipeline", "proxy", "compression")
_LISTS = ("known_usecases", "options", "artifacts", "download_files", "lora_adapters", "stopwords")
_PROXY_MODES = ("", "passthrough", "translate")


class ConfigInvalid(Exception):
    """A configuration that cannot be used, in a sentence that names key and value. A retry does not help."""

    retry: ClassVar[bool] = False


@dataclass(frozen=True)
class ModelConfig:
    """One model's configuration as read from a file; `path` is that file, `data` all that it says."""

    name: str
    path: Path
    data: dict[str, Any]

    @property
    def backend(self) -> str:
        """Empty when the configuration leaves the choice open."""
        return _text(self.data, "backend")

    @property
    def model_file(self) -> str:
        """As written: a file or a folder inside the models folder, or whatever the backend resolves."""
        return _text(map_at(self.data, "parameters"), "model")

    @property
    def mmproj(self) -> str:
        return _text(self.data, "mmproj")

    @property
    def context_size(self) -> int | None:
        """Tokens; None when the configuration leaves it to the default."""
        value = self.data.get("context_size")
        return value if isinstance(value, int) and value > 0 else None

    @property
    def description(self) -> str:
        return _text(self.data, "description")

    @property
    def alias(self) -> str:
        """The name of the model this one stands for; empty for a model of its own."""
        return _text(self.data, "alias")

    @property
    def disabled(self) -> bool:
        return self.data.get("disabled") is True

    @property
    def pinned(self) -> bool:
        return self.data.get("pinned") is True

    @cached_property
    def usecases(self) -> frozenset[str]:
        """Declared or guessed; lower-case names of `models.usecases.USECASES`."""
        return usecases(self.data)

    @cached_property
    def files(self) -> frozenset[str]:
        """Relative names of every file or folder it refers to, there or not."""
        return referenced_files(self.data)

    @cached_property
    def models(self) -> frozenset[str]:
        """Names of the other models that it needs; one of them may be a loose file."""
        return referenced_models(self.data)


def parse(text: str, path: Path) -> list[ModelConfig]:
    """The configurations of one file: a map, or a list of maps. They are not validated yet.

    A configuration without a name is called after its model file, else after the file it is in. Raises ConfigInvalid.
    """
    try:
        content = yaml.load(text, max_bytes=MAX_BYTES, duplicate_keys="error")
    except yaml.YamlError as error:
        raise ConfigInvalid(
            f"{path.name} is not readable YAML: {error} Correct the file; it is read again by itself."
        ) from error
    maps = content if isinstance(content, list) else [content]
    return [_config(data, path, alone=len(maps) == 1) for data in maps]


def _config(data: object, path: Path, *, alone: bool) -> ModelConfig:
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigInvalid(f"{path.name} must hold a map of settings, such as `name: x`, or a list of such maps.")
    name = _text(data, "name") or _text(map_at(data, "parameters"), "model") or (path.stem if alone else "")
    if not name:
        raise ConfigInvalid(f"{path.name} is a list with an entry that has no name; give each entry a `name`.")
    return ModelConfig(name=name, path=path, data=data)


def render(data: Mapping[str, Any]) -> str:
    """The YAML text of a configuration, keys in the order they are in, text as it is."""
    return yaml.dump(dict(data))


def validate(data: Mapping[str, Any]) -> None:
    """Check a configuration before it is written or used. Raises ConfigInvalid with the first thing that is wrong."""
    _check_kinds(data)
    _check_name(data)
    if data.get("alias"):
        _check_alias(data)
        return
    for key, value in _paths(data):
        _check_path(key, value)
    backend = _text(data, "backend")
    if backend and not _BACKEND_NAME.fullmatch(backend):
        raise ConfigInvalid(f"backend is {backend!r}; it takes letters, digits, - and _, such as llama-cpp.")
    _check_artifacts(data)
    _check_proxy(data)
    _check_numbers(data)


def _check_kinds(data: Mapping[str, Any]) -> None:
    for key in _MAPS:
        if not isinstance(data.get(key), Mapping | None):
            raise ConfigInvalid(f"{key} is {_shown(data[key])}; it must be a map of settings.")
    for key in _LISTS:
        if not isinstance(data.get(key), list | None):
            raise ConfigInvalid(f"{key} is {_shown(data[key])}; it must be a list.")
    for key, value in [("name", data.get("name")), ("backend", data.get("backend")), *_paths(data)]:
        if isinstance(value, Mapping | list):
            raise ConfigInvalid(f"{key} is {_shown(value)}; it must be a text.")


def _check_name(data: Mapping[str, Any]) -> None:
    name = _text(data, "name")
    if _CONTROL.search(name) or len(name.encode()) > 255 or name.startswith("/") or ".." in name.split("/"):
        raise ConfigInvalid(f"name is {name[:80]!r}; it takes up to 255 bytes, no control characters and no path out.")


def _paths(data: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Every key that names a file in the models folder, with its value."""
    yield "parameters.model", map_at(data, "parameters").get("model")
    for key in ("mmproj", "draft_model", "lora_adapter"):
        yield key, data.get(key)
    yield from (("lora_adapters", value) for value in list_at(data, "lora_adapters"))
    for download in list_at(data, "download_files"):
        yield "download_files.filename", download.get("filename") if isinstance(download, Mapping) else download


def _check_path(key: str, value: object) -> None:
    text = str(value or "")
    if text.startswith("/") or ".." in text or _CONTROL.search(text):
        raise ConfigInvalid(f"{key} is {text[:200]!r}; it must be a file in the models folder: no leading /, no `..`.")


def _check_alias(data: Mapping[str, Any]) -> None:
    """An alias stands for another model, so that it has nothing of its own."""
    name, alias = _text(data, "name"), _text(data, "alias")
    if not name:
        raise ConfigInvalid(f"alias is {alias!r}, but the configuration has no name; give it one.")
    if name == alias:
        raise ConfigInvalid(f"alias is {alias!r}, its own name; it must be the name of another model.")
    for key, value in [
        ("backend", data.get("backend")),
        ("parameters.model", map_at(data, "parameters").get("model")),
        ("artifacts", data.get("artifacts")),
    ]:
        if value:
            raise ConfigInvalid(
                f"{key} is {_shown(value)}, but an alias (of {alias!r}) has none; remove one of the two."
            )


def _check_artifacts(data: Mapping[str, Any]) -> None:
    names: set[str] = set()
    for position, artifact in enumerate(list_at(data, "artifacts")):
        if not isinstance(artifact, Mapping):
            raise ConfigInvalid(f"artifacts has {_shown(artifact)}; each must be a map with name and source.")
        name, target = _text(artifact, "name"), _text(artifact, "target")
        if name in names:
            raise ConfigInvalid(f"artifacts.name is {name!r} twice; each needs a name of its own.")
        if (target == "model") != (position == 0):
            raise ConfigInvalid(f"artifacts.target is {target!r} in {name!r}; exactly the first has the target model.")
        names.add(name)


def _check_proxy(data: Mapping[str, Any]) -> None:
    proxy = map_at(data, "proxy")
    mode = _text(proxy, "mode")
    if mode not in _PROXY_MODES:
        raise ConfigInvalid(f"proxy.mode is {mode!r}; it takes passthrough or translate.")
    if mode == "translate" and not proxy.get("provider"):
        raise ConfigInvalid("proxy.mode is 'translate', which needs proxy.provider.")
    if proxy.get("api_key_env") and proxy.get("api_key_file"):
        raise ConfigInvalid("proxy.api_key_file stands beside api_key_env; set one of the two.")


def _check_numbers(data: Mapping[str, Any]) -> None:
    size = data.get("context_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise ConfigInvalid(f"context_size is {_shown(size)}; it takes a number of tokens, 0 for the default.")
    ratio = map_at(data, "compression").get("ratio")
    if ratio is not None and not (isinstance(ratio, int | float) and 0 <= ratio <= 1):
        raise ConfigInvalid(f"compression.ratio is {_shown(ratio)}; it takes a number from 0 to 1.")


def _shown(value: object) -> str:
    """For a sentence: short, and without what is inside of a map, which may be secret."""
    if isinstance(value, Mapping):
        return "a map"
    holds_maps = isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value)
    return "a list" if holds_maps else repr(value)[:80]


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return "" if value is None or isinstance(value, Mapping | list) else str(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A new map: `over` laid on `base`, by the rules LocalAI merges overrides with.

    Maps are merged key by key, at every depth. Everything else of `over` takes the place of what was there, also when
    it is null, false, zero or empty, when it is a list, and when the kinds differ. Neither argument is changed, nor
    shares a map or a list with the result.
    """
    result = {key: _copied(value) for key, value in base.items()}
    for key, value in over.items():
        there = result.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            result[key] = merge(there, value)
        else:
            result[key] = _copied(value)
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return value
