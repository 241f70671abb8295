"""The estimate of a model's memory beside what the real engine takes."""

from pathlib import Path
from typing import Any

import psutil

from models import fit, gguf
from tests.fakes import tiny_gguf
from tests.fakes.llama_backend import LlamaBackend


def measured(model: Path, log: Path, config: dict[str, Any]) -> int:
    """Bytes of the backend's processes once the model is loaded."""
    with LlamaBackend(log) as backend:
        backend.load(model, **config)
        processes = [backend.engine(), psutil.Process(backend.process.pid)]
        return sum(process.memory_full_info().pss for process in processes)


def estimated(model: Path, config: dict[str, Any]) -> int:
    weights = fit.weights_of({"parameters": {"model": model.name}}, {model.name: model.stat().st_size})
    need = fit.need(config, weights, gguf.read_file(model), 1024)
    assert need
    return need.total


def test_what_a_longer_context_takes_is_what_was_worked_out(tmp_path: Path) -> None:
    model = tiny_gguf.write(tmp_path / "m.gguf", context=1 << 20)
    short, long = {"context_size": 512}, {"context_size": 512 * 1024}
    took = measured(model, tmp_path / "log", long) - measured(model, tmp_path / "log", short)
    worked_out = estimated(model, long) - estimated(model, short)
    assert 0.8 * took < worked_out < 1.2 * took
    assert estimated(model, short) > measured(model, tmp_path / "log", short)
