"""What the model of a plan would take of this host's memory."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from django.conf import settings

from gallery.catalog.recipes import InstallRecipe
from gallery.downloads.errors import DownloadError
from gallery.downloads.transport import Downloader
from gallery.services.asking import Asking
from gallery.services.plan_files import PlannedFile
from localai_admin.lib.gpu import GpuReader
from models import fit, gguf
from models.backend import values
from models.configs import ConfigInvalid
from models.fit import Fit
from models.gguf import Gguf, GgufError
from models.host import Host, host_without_asking, memory

#: For one piece of a header. A plan waits for all of it, and leaves what still hangs to its own end. Seconds.
_PIECE_SECONDS = 20.0
#: While the servers are still being asked.
NOT_YET: dict[str, Any] = {
    "fit": Fit.UNKNOWN.value,
    "sentence": "Being worked out.",
    "method": "",
    "need": None,
    "parts": [],
    "context_size": None,
    "header": None,
    "host": None,
}


def host() -> Host:
    """This host with its graphics cards, which may take two seconds to ask."""
    cards = GpuReader().read(monotonic())
    return Host(memory(), tuple(cards)) if cards else host_without_asking()


def header(recipe: InstallRecipe, transport: Downloader, here: Mapping[str, Path]) -> Gguf | None:
    """The header of the model's file, from the folder when it is `here`, else by pieces from its server.

    None for a model of another format. Raises DownloadError, GgufError, ConfigInvalid.
    """
    name = fit.weights_of(recipe.config, dict.fromkeys(file.filename for file in recipe.files)).first
    if not name.lower().endswith(".gguf"):
        return None
    if name in here:
        return gguf.read_file(here[name], whole=False)
    uri = next(file.uri for file in recipe.files if file.filename == name)
    return gguf.read_header(lambda offset, length: transport.read(uri, offset, length, seconds=_PIECE_SECONDS))


def facts(
    recipe: InstallRecipe,
    files: Sequence[PlannedFile],
    asking: Asking,
    asked_header: Future[Gguf | None],
    asked_host: Future[Host],
) -> dict[str, Any]:
    """The plan's `memory`; see gallery.services.planning."""
    try:
        this = asking.answer(asked_host, "What the graphics cards have")
    except DownloadError:
        this = host_without_asking()
    try:
        found, why = _header_of(asking, asked_header)
        weights = fit.weights_of(recipe.config, {file.filename: file.size for file in files})
        need = fit.need(recipe.config, weights, found, settings.BACKEND_CONTEXT_SIZE)
        context = values.positive(recipe.config, "context_size", settings.BACKEND_CONTEXT_SIZE)
    except ConfigInvalid as error:
        return {**NOT_YET, "sentence": f"It cannot be worked out: {error}", "host": _host(this)}
    verdict = fit.verdict(need.total if need else None, this)
    return {
        "fit": verdict.fit.value,
        "sentence": verdict.sentence if need else _nothing(weights),
        "method": " ".join(filter(None, [need.method if need else "", why, _left_out(weights) if need else ""])),
        "need": need.total if need else None,
        "parts": [asdict(part) for part in need.parts] if need else [],
        "context_size": context if found else None,
        "header": _described(found, weights.first) if found else None,
        "host": _host(this),
    }


def _header_of(asking: Asking, asked: Future[Gguf | None]) -> tuple[Gguf | None, str]:
    """The header, and when it could not be had, why."""
    try:
        return asking.answer(asked, "The header of the model file"), ""
    except (DownloadError, GgufError, OSError) as error:
        return None, f"The header of the model file could not be read: {error}"


def _nothing(weights: fit.Weights) -> str:
    if not weights.model:
        return "Its files tell nothing about the memory it needs."
    return "The size of its files is not known, so neither is the memory it needs."


def _left_out(weights: fit.Weights) -> str:
    return f"Not counted, for its size is not known: {', '.join(weights.unknown)}." if weights.unknown else ""


def _described(header: Gguf, file: str) -> dict[str, Any]:
    return {
        "file": file,
        "architecture": header.architecture,
        "name": header.name,
        "size_label": header.size_label,
        "quantisation": header.quantisation,
        "layers": header.block_count,
        "context_length": header.context_length,
        "experts": header.expert_count,
        "parameters": header.parameters,
    }


def _host(host: Host) -> dict[str, Any]:
    return {
        "memory_total": host.memory.total,
        "memory_available": host.memory.available,
        "gpus": None if host.gpus is None else [gpu.as_json() for gpu in host.gpus],
    }
