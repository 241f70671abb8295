"""A model's configuration in the words of the backend protocol."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.backend import values
from models.backend.proto.backend_pb2 import Message, ModelOptions, PredictOptions
from models.configs import ConfigInvalid
from models.references import relative_name
from models.usecases import usecases

__all__ = ["ModelOptions", "PredictOptions", "model_options", "predict_options"]

#: All of them, however many the model has; a backend without a GPU takes it for none.
ALL_GPU_LAYERS = 99_999_999
CONTEXT_SIZE = 1024
THREADS = 4
BATCH = 512

_WHOLE_INPUT_USES = {"score", "embeddings", "rerank"}

# Field of the protocol: where it stands in a configuration. Its kind decides which values are accepted.
_MODEL_TEXTS = {
    "MainGPU": "main_gpu",
    "TensorSplit": "tensor_split",
    "PipelineType": "diffusers.pipeline_type",
    "SchedulerType": "diffusers.scheduler_type",
    "CLIPModel": "diffusers.clip_model",
    "CLIPSubfolder": "diffusers.clip_subfolder",
    "ControlNet": "diffusers.control_net",
    "Tokenizer": "parameters.tokenizer",
    "LoraBase": "lora_base",
    "LoraAdapter": "lora_adapter",
    "AudioPath": "tts.audio_path",
    "Quantization": "quantization",
    "RopeScaling": "rope_scaling",
    "Type": "type",
    "LoadFormat": "load_format",
    "CacheTypeKey": "cache_type_k",
    "CacheTypeValue": "cache_type_v",
    "DType": "dtype",
}
_MODEL_NUMBERS = {
    "RopeFreqBase": "rope_freq_base",
    "RopeFreqScale": "rope_freq_scale",
    "RMSNormEps": "rms_norm_eps",
    "CFGScale": "cfg_scale",
    "LoraScale": "lora_scale",
    "YarnExtFactor": "yarn_ext_factor",
    "YarnAttnFactor": "yarn_attn_factor",
    "YarnBetaFast": "yarn_beta_fast",
    "YarnBetaSlow": "yarn_beta_slow",
    "GPUMemoryUtilization": "gpu_memory_utilization",
}
_MODEL_COUNTS = {
    "NGQA": "ngqa",
    "CLIPSkip": "diffusers.clip_skip",
    "SwapSpace": "swap_space",
    "MaxModelLen": "max_model_len",
    "TensorParallelSize": "tensor_parallel_size",
    "LimitImagePerPrompt": "limit_mm_per_prompt.image",
    "LimitVideoPerPrompt": "limit_mm_per_prompt.video",
    "LimitAudioPerPrompt": "limit_mm_per_prompt.audio",
}
_MODEL_SWITCHES = {
    "F16Memory": "f16",
    "MLock": "mmlock",
    "LowVRAM": "low_vram",
    "Embeddings": "embeddings",
    "NUMA": "numa",
    "IMG2IMG": "diffusers.img2img",
    "NoMulMatQ": "no_mulmatq",
    "TrustRemoteCode": "trust_remote_code",
    "EnforceEager": "enforce_eager",
    "NoKVOffload": "no_kv_offloading",
    "DisableLogStatus": "disable_log_stats",
    "Reranking": "reranking",
}
_MODEL_LISTS = {"LoraAdapters": "lora_adapters", "Options": "options", "Overrides": "overrides"}

# The second is what holds when a configuration says nothing: a value that changes nothing, or LocalAI's default.
_PREDICT_NUMBERS = {
    "Temperature": ("parameters.temperature", 0.9),
    "TopP": ("parameters.top_p", 0.95),
    "MinP": ("parameters.min_p", 0.0),
    "TypicalP": ("parameters.typical_p", 1.0),
    "TailFreeSamplingZ": ("parameters.tfz", 1.0),
    "Penalty": ("parameters.repeat_penalty", 1.0),
    "FrequencyPenalty": ("parameters.frequency_penalty", 0.0),
    "PresencePenalty": ("parameters.presence_penalty", 0.0),
    "MirostatETA": ("mirostat_eta", 0.1),
    "MirostatTAU": ("mirostat_tau", 5.0),
    "RopeFreqBase": ("rope_freq_base", 0.0),
    "RopeFreqScale": ("rope_freq_scale", 0.0),
    "NegativePromptScale": ("parameters.negative_prompt_scale", 0.0),
}
_PREDICT_COUNTS = {
    "Tokens": ("parameters.max_tokens", 0),
    "TopK": ("parameters.top_k", 40),
    "Seed": ("parameters.seed", -1),
    "Repeat": ("parameters.repeat_last_n", 0),
    "NKeep": ("parameters.n_keep", 0),
    "Batch": ("parameters.batch", 0),
    "Mirostat": ("mirostat", 0),
    "NDraft": ("n_draft", 0),
}
_PREDICT_SWITCHES = {"IgnoreEOS": "parameters.ignore_eos", "F16KV": "f16", "PromptCacheRO": "prompt_cache_ro"}
_PREDICT_TEXTS = {"Grammar": "grammar", "NegativePrompt": "parameters.negative_prompt"}


def model_options(
    config: Mapping[str, Any], *, models_path: Path, threads: int = THREADS, context_size: int = CONTEXT_SIZE
) -> ModelOptions:
    """What LoadModel is asked for. `threads` and `context_size` (tokens) hold where the configuration is silent.

    Raises ConfigInvalid for a value of the wrong kind, or for a file outside the models folder.
    """
    options = ModelOptions(Seed=values.count(config, "parameters.seed", -1), MMap=values.switch(config, "mmap", True))
    _fill(options, _MODEL_TEXTS, lambda key: values.text(config, key))
    _fill(options, _MODEL_NUMBERS, lambda key: values.number(config, key, 0.0))
    _fill(options, _MODEL_COUNTS, lambda key: values.count(config, key, 0))
    _fill(options, _MODEL_SWITCHES, lambda key: values.switch(config, key, False))
    for field, key in _MODEL_LISTS.items():
        getattr(options, field).extend(values.texts(config, key))
    options.LoraScales.extend(values.numbers(config, "lora_scales"))
    options.CUDA = values.switch(config, "cuda", False) or values.switch(config, "diffusers.cuda", False)
    options.FlashAttention = _flash_attention(config)
    options.EngineArgs = values.as_json(config, "engine_args")
    options.NGPULayers = values.count(config, "gpu_layers", ALL_GPU_LAYERS)
    options.Threads = values.positive(config, "threads", threads)
    options.ContextSize = values.positive(config, "context_size", context_size)
    options.NBatch = values.positive(config, "parameters.batch", _batch(config, options.ContextSize))
    options.EnableScore = "score" in usecases(config)
    _set_files(options, config, models_path.absolute())
    return options


def predict_options(
    config: Mapping[str, Any],
    prompt: str | None = None,
    messages: Sequence[tuple[str, str]] = (),
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    correlation_id: str = "",
) -> PredictOptions:
    """What Predict, PredictStream and Embedding are asked for: bare text, or a conversation of (role, content).

    A conversation is put into the model's own form by its tokenizer. Raises ConfigInvalid for a value of the wrong
    kind, ValueError unless there is exactly one of prompt and messages.
    """
    if (prompt is None) == (not messages):
        raise ValueError("give either a prompt or messages")
    options = PredictOptions(Prompt=prompt or "", UseTokenizerTemplate=bool(messages), CorrelationId=correlation_id)
    options.Messages.extend(Message(role=role, content=content) for role, content in messages)
    _fill(options, _PREDICT_NUMBERS, lambda rule: values.number(config, *rule))
    _fill(options, _PREDICT_COUNTS, lambda rule: values.count(config, *rule))
    _fill(options, _PREDICT_SWITCHES, lambda key: values.switch(config, key, False))
    _fill(options, _PREDICT_TEXTS, lambda key: values.text(config, key))
    options.StopPrompts.extend(values.texts(config, "stopwords"))
    options.MMap, options.MLock = values.switch(config, "mmap", True), values.switch(config, "mmlock", False)
    options.Threads = values.positive(config, "threads", 0)
    options.ModelIdentity = _identity(values.text(config, "parameters.model"))
    if max_tokens is not None:
        options.Tokens = max_tokens
    if temperature is not None:
        options.Temperature = temperature
    return options


def _fill(options: ModelOptions | PredictOptions, rules: Mapping[str, Any], read: Callable[[Any], object]) -> None:
    for field, rule in rules.items():
        setattr(options, field, read(rule))


def _batch(config: Mapping[str, Any], context_size: int) -> int:
    """A model that takes its whole input in one go needs room for it, or a long text is refused."""
    whole = values.switch(config, "embeddings", False) or bool(usecases(config) & _WHOLE_INPUT_USES)
    return max(BATCH, context_size) if whole else BATCH


def _flash_attention(config: Mapping[str, Any]) -> str:
    """A text nowadays; a switch in configurations of 2024."""
    value = values.find(config, "flash_attention")
    if isinstance(value, bool):
        return "on" if value else "off"
    return values.text(config, "flash_attention") or "auto"


def _set_files(options: ModelOptions, config: Mapping[str, Any], models_path: Path) -> None:
    """Backends differ in which of the three they read, so all are set.

    A folder is named by its full path in Model too: backends that know only this one would take a relative name for
    that of a model on the internet.
    """
    model = values.text(config, "parameters.model")
    options.ModelPath = str(models_path)
    if model:
        file = _inside(models_path, model, "parameters.model")
        options.ModelFile = str(file)
        options.Model = str(file) if file.is_dir() else model
    if mmproj := values.text(config, "mmproj"):
        options.MMProj = str(_inside(models_path, mmproj, "mmproj"))
    if draft := values.text(config, "draft_model"):
        options.DraftModel = str(_inside(models_path, draft, "draft_model"))


def _inside(folder: Path, name: str, key: str) -> Path:
    """The file a configuration means. What is no file name, such as a URL, is left to the backend to refuse."""
    if name.startswith("/") or ".." in name.split("/"):
        raise ConfigInvalid(f"{key} is {name!r}; it must be the name of a file inside the models folder.")
    return folder / (relative_name(name) or name)


def _identity(model: str) -> str:
    """The name a backend compares with the one it loaded, so that a port which changed hands answers nobody.

    Only for a single file: it is loaded under the very same name.
    """
    return model if model.lower().endswith(".gguf") else ""
