"""From the protocol's words to llama.cpp's: settings to load a model with, and the body of a request."""

import secrets
from pathlib import Path
from typing import Any

from stubs import backend_pb2

#: Begins every turn in the form that llama.cpp falls back to.
TURN = "<|im_start|>"

_GGUF = b"GGUF"
_FLASH = {"on": "on", "true": "on", "enabled": "on", "off": "off", "false": "off", "disabled": "off"}
#: Settings of a file come before its vocabulary; the name of this one is found within so many bytes.
_HEAD = 64 << 10
_MOST_PARALLEL = 64


class BadModel(Exception):
    """A model that cannot be loaded, in a sentence for a person."""


def model_path(options: backend_pb2.ModelOptions) -> Path:
    """The GGUF file that is meant. Raises BadModel when it is not there, or is something else."""
    named = options.ModelFile or str(Path(options.ModelPath) / options.Model)
    path = Path(named)
    if not (options.ModelFile or options.Model):
        raise BadModel("no model file is named; set parameters.model in the model's configuration")
    if not path.exists():
        raise BadModel(f"there is no file {named}; install the model again")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF))
    except OSError as error:
        raise BadModel(f"{named} cannot be read: {error.strerror}") from error
    if magic != _GGUF:
        raise BadModel(
            f"{path.name} is not a GGUF file, the only kind llama.cpp reads; install another build of the model"
        )
    return path


def engine_settings(options: backend_pb2.ModelOptions, path: Path) -> dict[str, Any]:
    """What llama.py reads; plain values only. The key is new each time."""
    return {
        "model": str(path),
        "context_size": options.ContextSize if options.ContextSize > 0 else 1024,
        "batch": options.NBatch if options.NBatch > 0 else 512,
        "threads": options.Threads if options.Threads > 0 else 1,
        "parallel": _parallel(list(options.Options)),
        "gpu_layers": options.NGPULayers,
        "flash_attention": _FLASH.get(options.FlashAttention.lower(), "auto"),
        "mmap": options.MMap,
        "mlock": options.MLock,
        "mmproj": options.MMProj,
        "lora": _lora(options),
        "rope_freq_base": options.RopeFreqBase,
        "rope_freq_scale": options.RopeFreqScale,
        "embedding": options.Embeddings,
        "pooling": "model" if _says_pooling(path) else "mean",
        "key": secrets.token_urlsafe(24),
    }


def _parallel(options: list[str]) -> int:
    """How many answers are made at once; others wait. LocalAI's option `parallel:4`."""
    for option in options:
        name, _, value = option.partition(":")
        if name in {"parallel", "n_parallel"} and value.isdigit():
            return min(max(1, int(value)), _MOST_PARALLEL)
    return 1


def _lora(options: backend_pb2.ModelOptions) -> list[tuple[str, float]]:
    """(full path, strength) of each adapter; 1 where no strength is given."""
    named = list(zip(options.LoraAdapters, [*options.LoraScales, *[1.0] * len(options.LoraAdapters)], strict=False))
    if options.LoraAdapter:
        named.insert(0, (options.LoraAdapter, options.LoraScale or 1.0))
    return [(str(Path(options.ModelPath) / name), scale) for name, scale in named]


def _says_pooling(path: Path) -> bool:
    """Whether the model itself says how its vectors become one; a model made for chat does not."""
    with path.open("rb") as file:
        return b".pooling_type" in file.read(_HEAD)


def completion(request: backend_pb2.PredictOptions, prompt: str) -> dict[str, Any]:
    """The body of a request for text. A field that is 0 in the protocol is one that nobody set."""
    body: dict[str, Any] = {
        "prompt": prompt,
        "stream": True,
        # Says something while it reads a long prompt as well, so that a caller who has gone is noticed.
        "return_progress": True,
        "cache_prompt": True,
        "n_predict": request.Tokens if request.Tokens > 0 else -1,
        "temperature": request.Temperature,
        "top_k": request.TopK,
        "min_p": request.MinP,
        "seed": request.Seed,
        "ignore_eos": request.IgnoreEOS,
        "frequency_penalty": request.FrequencyPenalty,
        "presence_penalty": request.PresencePenalty,
        "n_keep": request.NKeep,
        "stop": list(request.StopPrompts),
    }
    optional = {
        "top_p": request.TopP,
        "typical_p": request.TypicalP,
        "repeat_penalty": request.Penalty,
        "repeat_last_n": request.Repeat,
        "mirostat": request.Mirostat,
        "mirostat_eta": request.MirostatETA,
        "mirostat_tau": request.MirostatTAU,
        "grammar": request.Grammar,
    }
    return body | {name: value for name, value in optional.items() if value}


def conversation(request: backend_pb2.PredictOptions) -> dict[str, Any]:
    """The body of a request to put a conversation into the model's own form."""
    return {"messages": [{"role": said.role, "content": said.content} for said in request.Messages]}


def transcript(request: backend_pb2.PredictOptions) -> dict[str, Any]:
    """The body of a request to go on with a conversation in plain text, for a model that was taught no form.

    Such a model goes on with the next speaker's line as well; it is stopped there.
    """
    turns = [f"{said.role.capitalize()}: {said.content}\n" for said in request.Messages]
    body = completion(request, "".join(turns) + "Assistant:")
    speakers = dict.fromkeys(["user", "assistant", *(said.role for said in request.Messages)])
    body["stop"] += [f"\n{speaker.capitalize()}:" for speaker in speakers]
    return body
