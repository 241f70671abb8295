"""From files of a repository, or of this server, to the entry that installs them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gallery.hub.choices import GGUF, SET, Choice
from gallery.hub.listing import RepoFile, Repository

#: Without a better word. Tokens.
CONTEXT_SIZE = 4096
#: More is left to whoever asks for it: memory grows with it. Tokens.
SUGGESTED_MOST = 8192

USECASES = (
    ("chat", "Chat"),
    ("completion", "Completion"),
    ("vision", "Chat with pictures"),
    ("embeddings", "Embeddings"),
    ("rerank", "Reranking"),
    ("transcript", "Speech to text"),
    ("tts", "Text to speech"),
    ("image", "Pictures"),
)
_BY_PIPELINE = {
    "text-generation": "chat",
    "image-text-to-text": "vision",
    "any-to-any": "vision",
    "feature-extraction": "embeddings",
    "sentence-similarity": "embeddings",
    "text-ranking": "rerank",
    "automatic-speech-recognition": "transcript",
    "text-to-speech": "tts",
    "text-to-image": "image",
}
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Wanted:
    """What a person settled: `chats` is whether the files bring a template for conversations, `context_size` tokens."""

    name: str
    usecase: str
    context_size: int | None = None
    chats: bool = False


@dataclass(frozen=True)
class Place:
    """Where the files of a model lie in the models folder, and where they come from."""

    model: str
    mmproj: str = ""
    files: list[dict[str, Any]] = field(default_factory=list)


def suggested_usecase(repository: Repository) -> str:
    usecase = _BY_PIPELINE.get(repository.pipeline, "")
    if not usecase or usecase == "chat":
        return "chat" if repository.chats or not repository.pipeline else usecase and "completion"
    return usecase


def suggested_context(repository: Repository) -> int:
    return min(repository.context_size or CONTEXT_SIZE, SUGGESTED_MOST)


def suggested_name(repository: Repository, choice: Choice) -> str:
    base = repository.repo.partition("/")[2]
    base = re.sub(r"[-_.]gguf$", "", base, flags=re.IGNORECASE)
    if choice.kind == GGUF and choice.label not in base and choice.label != choice.first.name:
        base = f"{base}-{choice.label}"
    return model_name(base)


def model_name(text: str) -> str:
    """A name for a model that is close to the text; files and addresses can hold it."""
    return _NOT_IN_A_NAME.sub("-", text).strip("-._")[:100].lower() or "model"


def backend_of(kind: str, first: str, usecase: str) -> str:
    """The backend that is expected to load the files."""
    name = first.rpartition("/")[2].lower()
    if kind == GGUF or name.endswith(".gguf"):
        return "llama-cpp"
    if usecase == "image":
        return "diffusers"
    if name.endswith(".onnx"):
        return "piper" if usecase == "tts" else "transformers"
    if usecase == "transcript" and name.endswith((".bin", ".ggml")):
        return "whisper"
    return "transformers"


def described(repository: Repository, choice: Choice, companion: RepoFile | None, wanted: Wanted) -> dict[str, Any]:
    """An entry as an index would have it, of these files of the repository at its commit."""
    files = [*choice.files, *([companion] if companion else [])]
    folder = f"huggingface/{repository.repo}"
    model = f"{folder}/{choice.key}".rstrip("/") if choice.kind == SET else f"{folder}/{choice.first.path}"
    place = Place(
        model, f"{folder}/{companion.path}" if companion else "", [_spec(repository, folder, f) for f in files]
    )
    entry = configured(place, backend_of(choice.kind, choice.first.path, wanted.usecase), wanted)
    facts = {
        "description": f"{choice.label} of {repository.repo} at commit {repository.commit[:12]}.",
        "license": repository.license,
        "urls": [f"https://huggingface.co/{repository.repo}"],
        "tags": [tag for tag in repository.tags if ":" not in tag][:20],
    }
    return {"name": wanted.name, **{key: value for key, value in facts.items() if value}, **entry}


def configured(place: Place, backend: str, wanted: Wanted) -> dict[str, Any]:
    """The config_file and files of an entry."""
    config: dict[str, Any] = {"name": wanted.name, "backend": backend, "parameters": {"model": place.model}}
    if place.mmproj:
        config["mmproj"] = place.mmproj
    config |= _of_usecase(wanted.usecase, bool(place.mmproj))
    if wanted.context_size and backend == "llama-cpp":
        config["context_size"] = wanted.context_size
    if wanted.chats and wanted.usecase in {"chat", "vision"} and backend in {"llama-cpp", "transformers"}:
        config["template"] = {"use_tokenizer_template": True}
    return {"config_file": config, **({"files": place.files} if place.files else {})}


def _of_usecase(usecase: str, sees: bool) -> Mapping[str, Any]:
    if usecase == "embeddings":
        return {"embeddings": True, "known_usecases": ["embeddings"]}
    if usecase == "rerank":
        return {"reranking": True, "known_usecases": ["rerank"]}
    if usecase == "vision" or (usecase == "chat" and sees):
        return {"known_usecases": ["chat", "vision"]}
    return {"known_usecases": [usecase]} if usecase else {}


def _spec(repository: Repository, folder: str, file: RepoFile) -> dict[str, Any]:
    path = quote(file.path, safe="/~!$&'()*+,;=:")
    spec: dict[str, Any] = {
        "filename": f"{folder}/{file.path}",
        "uri": f"huggingface://{repository.repo}@{repository.commit}/{path}",
    }
    if file.sha256:
        spec["sha256"] = file.sha256
    if file.size is not None:
        spec["size"] = file.size
    return spec


def matches(files: Iterable[str], words: str) -> bool:
    """Whether every word of a search is somewhere in the files' names."""
    text = " ".join(files).lower()
    return all(word in text for word in words.lower().split())
