"""How much memory a model needs, part by part, and whether this host has it.

For a model in GGUF format the header tells: weights, the cache of keys and values for the context, and the room the
computing takes. For any other kind the files are counted, with something on top; which of the two it was is said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from localai_admin.lib.plain import list_at
from localai_admin.lib.units import bytes_text
from models.backend import values
from models.gguf import Gguf
from models.host import Host
from models.references import WEIGHTS, referenced_files, relative_name

#: What a model may take of the memory before it is called tight.
TIGHT = 0.85
#: Bytes on top of the weights where nothing tells what the rest takes.
OVERHEAD = 0.2
#: What the process of a backend takes before it has loaded anything. Bytes.
PROCESS = 100 << 20

_BATCH = 512
_VOCABULARY = 128_000
#: Bytes of one number in the cache; the smaller kinds store 32 of them with a scale.
_CACHE_BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
    "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip


class Fit(StrEnum):
    FITS = "fits"
    TIGHT = "tight"
    NOT = "does not fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Part:
    """One thing that takes memory; bytes."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Need:
    """What a model needs once it is loaded. `method` says how that was worked out, in a sentence."""

    parts: tuple[Part, ...]
    method: str

    @property
    def total(self) -> int:
        return sum(part.bytes for part in self.parts)


@dataclass(frozen=True)
class Verdict:
    """Whether it fits, and why, in a sentence."""

    fit: Fit
    sentence: str


@dataclass(frozen=True)
class Weights:
    """The files of a model by what they are for; bytes, None where a size is not known.

    `model` is every file of the model itself, in parts or not; `rest` what the configuration names beside it.
    """

    model: Mapping[str, int | None]
    projector: Mapping[str, int | None]
    draft: Mapping[str, int | None]
    adapters: Mapping[str, int | None]
    rest: Mapping[str, int | None]

    @property
    def first(self) -> str:
        """The file whose header describes the model; empty when there is none."""
        return min(self.model, default="")

    @property
    def unknown(self) -> list[str]:
        everything = (self.model, self.projector, self.draft, self.adapters, self.rest)
        return [name for files in everything for name, size in files.items() if size is None]


def weights_of(config: Mapping[str, Any], sizes: Mapping[str, int | None]) -> Weights:
    """Which of the files (bytes by name) are loaded, and as what. Where the configuration names none, all are."""
    loaded = {name: size for name, size in sizes.items() if name.lower().endswith(WEIGHTS)}

    def named(*wanted: object) -> dict[str, int | None]:
        names = {relative_name(value) for value in wanted} - {""}
        parts = referenced_files({"draft_model": next(iter(names))}) if len(names) == 1 else frozenset(names)
        return {name: size for name, size in loaded.items() if name in parts or _is_below(name, names)}

    projector, draft = named(values.find(config, "mmproj")), named(values.find(config, "draft_model"))
    adapters = named(values.find(config, "lora_adapter"), *list_at(config, "lora_adapters"))
    beside = {*projector, *draft, *adapters}
    model = named(values.find(config, "parameters.model")) or {n: s for n, s in loaded.items() if n not in beside}
    used = referenced_files(config)
    rest = {name: size for name, size in loaded.items() if name in used and name not in {*model, *beside}}
    return Weights(model, projector, draft, adapters, rest)


def need(config: Mapping[str, Any], weights: Weights, header: Gguf | None, context_size: int) -> Need | None:
    """What the model needs; None when the size of its files is not known.

    `context_size` (tokens) holds where the configuration is silent. Without a header the files are counted.
    """
    if not weights.model or any(size is None for size in weights.model.values()):
        return None
    parts = [Part("weights", _sum(weights.model)), *_beside(weights)]
    if header is None or not header.block_count:
        extra = int(sum(part.bytes for part in parts) * OVERHEAD)
        return Need((*parts, Part("working memory", extra)), _COUNTED)
    context = values.positive(config, "context_size", context_size)
    parts += [
        Part(f"context of {context:,} tokens", cache_bytes(config, header, context)),
        Part("working memory", compute_bytes(config, header, context)),
        Part("the backend itself", PROCESS),
    ]
    return Need(tuple(parts), _FROM_HEADER)


_FROM_HEADER = "Worked out from the header of the model file."
_COUNTED = f"An estimate: the size of the files, and {OVERHEAD:.0%} on top."


def cache_bytes(config: Mapping[str, Any], header: Gguf, context: int) -> int:
    """Bytes of the cache of keys and values. All answers made at once share it, however many they are.

    Layers that only look back a little way are counted in full, so that it is at most this.
    """
    heads = sum(header.heads_kv)
    key = header.key_length * _per_number(config, "cache_type_k")
    value = header.value_length * _per_number(config, "cache_type_v")
    return int(context * heads * (key + value))


def compute_bytes(config: Mapping[str, Any], header: Gguf, context: int) -> int:
    """Bytes for one step: the scores of every token, or those of attention, whichever is more; and what flows through.

    With flash attention, which is on unless it is turned off, the scores of attention are never all in memory.
    """
    batch = min(values.positive(config, "parameters.batch", _BATCH), max(context, 1))
    scores = (header.vocabulary or _VOCABULARY) * batch * 4
    flash = values.find(config, "flash_attention")
    attention = header.head_count * context * batch * 4 if flash in (False, "off", "false") else 0
    return max(scores, attention) + header.embedding_length * batch * 4 * 8


def verdict(total: int | None, host: Host) -> Verdict:
    """Whether so many bytes fit: on the graphics cards, in main memory, or shared by both, whichever is best."""
    if total is None:
        return Verdict(Fit.UNKNOWN, "How much memory it needs is not known before it is here.")
    need_text = bytes_text(total)
    places = [(f"{bytes_text(host.memory.total)} of memory", host.memory.total, host.memory.available)]
    if gpu := host.gpu_total:
        places.insert(0, (f"{bytes_text(gpu)} of graphics memory", gpu, host.gpu_free))
        both = gpu + host.memory.total
        free = host.gpu_free + host.memory.available
        places.append((f"{bytes_text(both)} of graphics and main memory together", both, free))
    judged = [(_judged(total, have, free), text, free) for text, have, free in places]
    # Of places that are equally good the first is named, of those that are all too small the largest.
    fit, text, free = min(judged, key=lambda item: _ORDER.index(item[0]))
    if fit == Fit.NOT:
        _, text, free = judged[-1]
    if fit == Fit.NOT and host.gpus is None:
        return Verdict(Fit.UNKNOWN, f"It needs {need_text}: more than main memory; the graphics card was not asked.")
    return Verdict(fit, _sentence(fit, need_text, text, free))


def quick(size: int | None, host: Host) -> Verdict:
    """The same from nothing but the size of a model's files: about."""
    return verdict(None if size is None else int(size * (1 + OVERHEAD)) + PROCESS, host)


_ORDER = (Fit.FITS, Fit.TIGHT, Fit.NOT)


def _judged(total: int, have: int, free: int) -> Fit:
    if total > have:
        return Fit.NOT
    return Fit.TIGHT if total > have * TIGHT or total > free else Fit.FITS


def _sentence(fit: Fit, need_text: str, have: str, free: int) -> str:
    if fit == Fit.NOT:
        return f"It needs {need_text}; this host has {have}."
    if fit == Fit.TIGHT:
        return f"It needs {need_text} of {have}, of which {bytes_text(free)} are free now."
    return f"It needs {need_text} of {have}."


def _beside(weights: Weights) -> Iterable[Part]:
    for name, files in (
        ("projector", weights.projector),
        ("draft model", weights.draft),
        ("adapters", weights.adapters),
        ("other files", weights.rest),
    ):
        if files:
            yield Part(name, _sum(files))


def _sum(files: Mapping[str, int | None]) -> int:
    return sum(size or 0 for size in files.values())


def _per_number(config: Mapping[str, Any], key: str) -> float:
    return _CACHE_BYTES.get(str(values.find(config, key) or "f16").lower(), 2.0)


def _is_below(name: str, folders: Iterable[str]) -> bool:
    return any(name.startswith(f"{folder}/") for folder in folders)
