"""A model's configuration with no recipe around it: what it is known by, and the files it asks to be fetched."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from gallery.catalog import documents
from localai_admin.lib.plain import list_at, map_at
from models.configs import merge

#: Keys that only a configuration has; a recipe and an entry have others.
_OWN_KEYS = frozenset({
    "parameters", "backend", "template", "context_size", "mmproj", "alias", "known_usecases", "embeddings", "options",
    "pipeline", "diffusers", "tts", "f16", "threads", "gpu_layers", "stopwords", "function", "system_prompt", "roles",
    "download_files", "reranking", "proxy", "grpc", "artifacts", "draft_model",
})  # fmt: skip
_NOT_OF_A_CONFIGURATION = frozenset(
    {"config_file", "files", "prompt_templates", "url", "config_url", "overrides", "id"}
)
_ADDRESS = re.compile(r"(?:https?://|github:|huggingface://|hf://|hf\.co/|ollama://|oci://|file://)", re.IGNORECASE)


def is_configuration(content: Mapping[str, Any]) -> bool:
    return not _NOT_OF_A_CONFIGURATION & content.keys() and bool(_OWN_KEYS & content.keys())


def is_address(text: str) -> bool:
    """Whether a text is an address that files come from, and not the name of a file."""
    return bool(_ADDRESS.match(text.strip()))


def with_files(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The configuration with the names of files where it had their addresses, and those files as an entry has them.

    The model and its mmproj may be addresses, and LocalAI's `download_files` names others.
    """
    changed = merge({}, config)
    files = [dict(file) for file in list_at(config, "download_files") if isinstance(file, Mapping) and file.get("uri")]
    parameters = map_at(config, "parameters")
    for key, holder in (("model", parameters), ("mmproj", config)):
        address = documents.text(holder.get(key))
        if not is_address(address):
            continue
        name = file_name_of(address)
        files.append({"filename": name, "uri": address})
        (changed["parameters"] if key == "model" else changed)[key] = name
    return changed, files


def name_of(config: Mapping[str, Any]) -> str:
    """The name that a configuration gives itself, or else that of its model file; empty without either."""
    name = documents.text(config.get("name"))
    model = documents.text(map_at(config, "parameters").get("model"))
    return name or PurePosixPath(file_name_of(model) if is_address(model) else model).stem


def file_name_of(address: str) -> str:
    """The last part of an address, without a branch behind it."""
    last = re.split(r"[?#]", address, maxsplit=1)[0].rstrip("/").rpartition("/")[2]
    return last.partition("@")[0] if "://" not in last else ""
