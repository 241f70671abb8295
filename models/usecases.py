"""What a model can be used for: as its configuration declares it, or as its fields and its backend suggest."""

from collections.abc import Mapping
from typing import Any

from localai_admin.lib.plain import map_at

USECASES = (
    "chat",
    "completion",
    "edit",
    "embeddings",
    "rerank",
    "image",
    "video",
    "3d",
    "transcript",
    "tts",
    "sound_generation",
    "tokenize",
    "vision",
    "vad",
    "detection",
    "depth",
    "face_recognition",
    "speaker_recognition",
    "audio_transform",
    "diarization",
    "realtime_audio",
    "sound_classification",
    "score",
    "token_classify",
)

#: Declared, one of these says all there is: nothing else is guessed beside it.
_AUTHORITATIVE = frozenset({"score", "token_classify"})
_LLM = frozenset({"chat", "completion", "edit"})

#: Backends whose models never chat, whatever templates their configuration carries.
_NOT_TEXT = frozenset(
    {
        "whisper",
        "piper",
        "kokoro",
        "diffusers",
        "stablediffusion",
        "stablediffusion-ggml",
        "rerankers",
        "silero-vad",
        "rfdetr",
        "insightface",
        "speaker-recognition",
        "transformers-musicgen",
        "ace-step",
        "acestep-cpp",
    }
)

#: Use cases that the backend alone decides.
_BY_BACKEND: dict[str, frozenset[str]] = {
    "image": frozenset({"stablediffusion", "stablediffusion-ggml", "tinydream"}),
    "video": frozenset({"stablediffusion", "vllm-omni"}),
    "3d": frozenset({"trellis2cpp"}),
    "rerank": frozenset({"rerankers"}),
    "tts": frozenset({"piper", "transformers-musicgen", "kokoro", "parler-tts"}),
    "sound_generation": frozenset({"transformers-musicgen", "ace-step", "acestep-cpp"}),
    "tokenize": frozenset({"llama.cpp", "llama-cpp", "rwkv"}),
    "vad": frozenset({"silero-vad", "sherpa-onnx"}),
    "detection": frozenset({"rfdetr", "sam3-cpp", "insightface"}),
    "depth": frozenset({"depth-anything"}),
    "face_recognition": frozenset({"insightface"}),
    "speaker_recognition": frozenset({"speaker-recognition"}),
    "audio_transform": frozenset({"localvqe"}),
    "diarization": frozenset({"vibevoice-cpp", "sherpa-onnx"}),
    "realtime_audio": frozenset({"liquid-audio"}),
    "sound_classification": frozenset({"ced"}),
}


def usecases(data: Mapping[str, Any]) -> frozenset[str]:
    """Every use case of the model: the declared ones, and those its fields suggest unless the declared are final."""
    said = declared(data)
    return said if said & _AUTHORITATIVE else said | guessed(data)


def declared(data: Mapping[str, Any]) -> frozenset[str]:
    """The known ones of `known_usecases`, with or without FLAG_, in any case; unknown words are passed over."""
    words = data.get("known_usecases")
    found: set[str] = set()
    for word in words if isinstance(words, list) else ():
        name = str(word).lower().removeprefix("flag_")
        found |= _LLM if name == "llm" else {name} & set(USECASES)
    return frozenset(found)


def guessed(data: Mapping[str, Any]) -> frozenset[str]:
    backend = str(data.get("backend") or "")
    by_backend = {usecase for usecase, backends in _BY_BACKEND.items() if backend in backends}
    return frozenset(by_backend | _text(data, backend) | _sight(data) | _media(data, backend))


def _text(data: Mapping[str, Any], backend: str) -> set[str]:
    template = map_at(data, "template")
    embeddings = data.get("embeddings") is True
    chats = any(template.get(key) for key in ("chat", "chat_message", "use_tokenizer_template")) or bool(
        map_at(data, "router")
    )
    found = {key for key in ("completion", "edit") if template.get(key)}
    if chats and not embeddings and backend not in _NOT_TEXT:
        found.add("chat")
    if embeddings:
        found.add("embeddings")
    if data.get("reranking") is True:
        found.add("rerank")
    return found


def _sight(data: Mapping[str, Any]) -> set[str]:
    """Vision is never inferred from chat: something has to say that the model takes images."""
    modalities = data.get("known_input_modalities")
    takes_images = isinstance(modalities, list) and "image" in modalities
    return {"vision"} if takes_images or data.get("mmproj") or map_at(data, "template").get("multimodal") else set()


def _media(data: Mapping[str, Any], backend: str) -> set[str]:
    if backend == "diffusers" and map_at(data, "diffusers").get("pipeline_type"):
        return {"image", "video"}
    if backend == "whisper":
        options = data.get("options")
        vad_only = isinstance(options, list) and any(str(option).startswith("vad_only") for option in options)
        return {"vad"} if vad_only else {"transcript"}
    return set()
