"""Prometheus text files, one a process, added up."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

_PREFIX = "otel_"
_STARTED = time.time_ns()


def file_name(pid: int) -> str:
    """A name no other process has, not even a later one with the same pid."""
    return f"{_PREFIX}{pid}_{_STARTED}.prom"


def write(path: Path, text: bytes) -> None:
    """Replace the file whole, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_bytes(text)
    new.replace(path)


class Sum:
    """A collector of all files in a folder: counters and histograms of the same name and labels are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        totals: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], float]] = {}
        for file in sorted(self.folder.glob(f"{_PREFIX}*.prom")):
            for family in text_string_to_metric_families(file.read_text()):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                sums = totals.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, frozenset(sample.labels.items()))
                    sums[key] = sums.get(key, 0.0) + sample.value
        for name, family in families.items():
            for (sample_name, labels), value in totals[name].items():
                family.add_sample(sample_name, dict(labels), value)
            yield family
