"""Which files of the models folder a configuration refers to."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from localai_admin.lib.plain import list_at, map_at

#: A file that holds (part of) a model, by the end of its name.
WEIGHTS = (".gguf", ".ggml", ".safetensors", ".bin", ".onnx", ".pt", ".pth", ".ckpt")

_DIRECT = ("mmproj", "draft_model", "lora_adapter", "lora_base", "tokenizer", "prompt_cache_path")
_NESTED = (
    ("parameters", "model"),
    ("tts", "voice"),
    ("tts", "vall-e"),
    ("tts", "audio_path"),
    ("diffusers", "clip_model"),
    ("diffusers", "control_net"),
)
_TEMPLATES = ("chat", "chat_message", "completion", "edit", "function", "multimodal")
_OPTION = re.compile(r"[A-Za-z0-9_.-]+[:=](?P<value>[^\s:=]+\.[A-Za-z][A-Za-z0-9]{1,11})")
#: One part of a model that was split for its size.
_PART = re.compile(r"(?P<stem>.+)-[0-9]{5}-of-(?P<count>[0-9]{5})\.gguf")
_MOST_PARTS = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def referenced_files(data: Mapping[str, Any]) -> frozenset[str]:
    """Relative names, with `/`, of every file or folder the configuration may use; whether they exist is not asked.

    Names that would leave the folder, URLs and texts that cannot be names are not in it.
    """
    named = {name for value in _mentioned(data) if (name := relative_name(value))}
    return frozenset(named.union(*(_implied(name) for name in named)))


def referenced_models(data: Mapping[str, Any]) -> frozenset[str]:
    """Names of other models that it needs: the one it stands for, and those that its pipeline is made of.

    A name in a pipeline may be that of a loose file.
    """
    named = [data.get("alias"), *map_at(data, "pipeline").values()]
    return frozenset(value.strip() for value in named if isinstance(value, str) and value.strip())


def _implied(name: str) -> Iterator[str]:
    """Files that are used with one, though nobody names them: the other parts of a split file, a voice's settings."""
    if part := _PART.fullmatch(name):
        count = int(part["count"])
        yield from (f"{part['stem']}-{n:05}-of-{count:05}.gguf" for n in range(1, min(count, _MOST_PARTS) + 1))
    if name.endswith(".onnx"):
        yield f"{name}.json"


def relative_name(value: object) -> str:
    """The value as a name inside a folder (`./a//b` is `a/b`), or nothing when it is none."""
    if not isinstance(value, str) or "://" in value or len(value) > 1000 or _CONTROL.search(value):
        return ""
    if value.startswith("/") or "\\" in value or ".." in value.split("/"):
        return ""
    name = posixpath.normpath(value) if value.strip() else ""
    return "" if name in {"", ".", ".."} else name


def _mentioned(data: Mapping[str, Any]) -> Iterator[object]:
    for key in _DIRECT:
        yield data.get(key)
    for outer, inner in _NESTED:
        yield map_at(data, outer).get(inner)
    yield from list_at(data, "lora_adapters")
    for download in list_at(data, "download_files"):
        yield map_at({"": download}, "").get("filename")
    yield from _artifacts(data)
    yield from _options(data)
    yield from _templates(data)


def _artifacts(data: Mapping[str, Any]) -> Iterator[object]:
    for artifact in list_at(data, "artifacts"):
        if isinstance(artifact, Mapping):
            yield artifact.get("path")
            yield artifact.get("filename")


def _options(data: Mapping[str, Any]) -> Iterator[object]:
    """Options are `key:value` or `key=value`; a value that ends like a file name may be one."""
    for option in list_at(data, "options"):
        if isinstance(option, str) and (found := _OPTION.fullmatch(option)):
            yield found["value"]


def _templates(data: Mapping[str, Any]) -> Iterator[object]:
    """A template is named without its `.tmpl`, or is the text itself; the model file may have one beside it, too."""
    named = [map_at(data, "template").get(key) for key in _TEMPLATES]
    for name in [*named, map_at(data, "parameters").get("model")]:
        if isinstance(name, str) and name and not re.search(r"[\n{}<>|]", name):
            yield f"{name}.tmpl"
