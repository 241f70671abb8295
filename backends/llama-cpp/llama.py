"""The engine: llama.cpp in a process of its own, since it stops all of its interpreter while it loads a model.

Started by engine.py as `python llama.py PARENT REPORT`: settings come as one line of JSON on standard input, the
answer goes as one line of JSON to the file descriptor REPORT: {"port": 1234} or {"error": "why not"}. Requests then
come over llama.cpp's own HTTP server on the loopback address, which asks for the key in the settings. The process
ends when its standard input does.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import xllamacpp
from lifeline import die_with_parent

_GPU_KINDS = ("GPU", "IGPU")
#: More layers than any model has; asking for so many means all that fit.
_ALL_LAYERS = 999
_LOG_SECONDS = 0.2
_POOLING = {
    "model": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_UNSPECIFIED,
    "mean": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
}
_FLASH = {
    "on": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    "auto": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO,
}


def parameters(settings: Mapping[str, Any]) -> xllamacpp.CommonParams:
    """llama.cpp's parameters for the settings that wording.engine_settings makes."""
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.n_ctx = settings["context_size"]
    params.n_batch = params.n_ubatch = settings["batch"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.n_parallel, params.kv_unified = settings["parallel"], True
    params.flash_attn_type = _FLASH[settings["flash_attention"]]
    params.load_mode = _load_mode(settings["mmap"], settings["mlock"])
    params.mmproj.path = settings["mmproj"]
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, scale) for path, scale in settings["lora"]]
    for name in ("rope_freq_base", "rope_freq_scale"):
        if settings[name]:
            setattr(params, name, settings[name])
    if settings["embedding"]:
        params.embedding, params.pooling_type = True, _POOLING[settings["pooling"]]
    _place_layers(params, settings["gpu_layers"])
    _close_doors(params, settings["key"])
    return params


def _load_mode(mmap: bool, mlock: bool) -> Any:
    modes = xllamacpp.llama_load_mode
    if mmap:
        return modes.LLAMA_LOAD_MODE_MMAP_MLOCK if mlock else modes.LLAMA_LOAD_MODE_MMAP
    return modes.LLAMA_LOAD_MODE_MLOCK if mlock else modes.LLAMA_LOAD_MODE_NONE


def _place_layers(params: xllamacpp.CommonParams, wanted: int) -> None:
    """None without a GPU; llama.cpp finds out how many fit when all are wanted."""
    has_gpu = any(device["type"].name.endswith(_GPU_KINDS) for device in xllamacpp.get_device_info())
    all_that_fit = has_gpu and wanted >= _ALL_LAYERS
    params.n_gpu_layers = -1 if all_that_fit else wanted if has_gpu else 0
    params.fit_params = all_that_fit


def _close_doors(params: xllamacpp.CommonParams, key: str) -> None:
    """Only this backend may ask, only what it needs; nothing is fetched, and nothing kept but the last conversation."""
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.ui = params.endpoint_slots = params.endpoint_metrics = False
    params.offline = True
    params.cache_ram_mib = 0
    params.verbosity = 3


def main() -> None:
    parent, report = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    # An interrupt from a terminal reaches the whole group; the server decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(sys.stdin.readline())
    with os.fdopen(report, "w") as answer:
        try:
            server = xllamacpp.Server(parameters(settings))
            said = {"port": int(server.listening_address.rpartition(":")[2])}
        except (RuntimeError, ValueError, TypeError) as error:
            said = {"error": str(error)}
        answer.write(json.dumps(said) + "\n")
    if "error" in said:
        # llama.cpp writes its log in a thread of its own; the last line before the end says what was wrong.
        time.sleep(_LOG_SECONDS)
    else:
        sys.stdin.read()
    # llama.cpp's threads may still be at work; there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    main()
