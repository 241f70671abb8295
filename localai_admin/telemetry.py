"""How long calls take, as the OpenTelemetry histogram `api_call`, exported for Prometheus.

Every process has its own meter. Under `up` there are several processes; each writes what it has measured to a file
in PROMETHEUS_MULTIPROC_DIR every two seconds and when it ends, and /metrics adds the files up, so that one scrape is
right with any number of web workers and loses nothing when one of them is killed.
"""

import os
import threading
from multiprocessing.util import Finalize
from pathlib import Path

from django.conf import settings
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from localai_admin.lib import exposition

#: LocalAI's name, so that dashboards made for it go on working.
METER_NAME = "github.com/mudler/LocalAI"
NO_ROUTE = "(no route)"
BUCKET_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
DUMP_SECONDS = 2.0


class Pipeline:
    """The meter of one process and, when there are several processes, the file it writes for the others."""

    def __init__(self, folder: Path | None) -> None:
        self.registry = CollectorRegistry() if folder else REGISTRY
        self.reader = PrometheusMetricReader(disable_target_info=True, registry=self.registry)
        self.provider = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.api_call: Histogram = self.provider.get_meter(METER_NAME).create_histogram(
            "api_call",
            unit="",
            description="Duration of API calls in seconds",
            explicit_bucket_boundaries_advisory=BUCKET_SECONDS,
        )
        self.pid = os.getpid()
        self._file = folder / exposition.file_name(self.pid) if folder else None
        self._collecting = threading.Lock()
        self._done = threading.Event()
        if self._file:
            threading.Thread(target=self._keep_dumping, name="metrics-dump", daemon=True).start()

    def _keep_dumping(self) -> None:
        while not self._done.wait(DUMP_SECONDS):
            self.dump()

    def text(self) -> bytes:
        """What this process measured. One at a time: the reader hands what it collects to whoever asks first."""
        with self._collecting:
            return generate_latest(self.registry)

    def dump(self) -> None:
        """Write the file for the others, if there are any."""
        if self._file:
            with self._collecting:
                exposition.write(self._file, generate_latest(self.registry))

    def shutdown(self) -> None:
        """Flush what was measured and end the pipeline. Safe to call twice."""
        if self._done.is_set():
            return
        self._done.set()
        self.dump()
        self.provider.shutdown()


_lock = threading.Lock()
_pipeline: Pipeline | None = None


def _folder() -> Path | None:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def pipeline() -> Pipeline:
    """This process's pipeline, made at first use, and anew in a forked child."""
    global _pipeline  # noqa: PLW0603 - one a process, by nature
    current = _pipeline
    if current is not None and current.pid == os.getpid():
        return current
    with _lock:
        if _pipeline is None or _pipeline.pid != os.getpid():
            _pipeline = Pipeline(_folder())
            # Runs at the end of a plain process and of a forked web worker, which never comes to atexit's handlers.
            Finalize(None, _pipeline.shutdown, exitpriority=10)
        return _pipeline


def observe_api_call(method: str, route: str, status: int, seconds: float) -> None:
    """Record one call. `route` is the URL pattern, `status` the HTTP status, of which the class is kept."""
    if settings.METRICS_ENABLED:
        labels = {
            "method": method if method in METHODS else "OTHER",
            "path": f"/{route}" if route != NO_ROUTE else route,
            "status": f"{status // 100}xx",
        }
        pipeline().api_call.record(seconds, labels)


def shutdown() -> None:
    """Flush and end this process's pipeline, if it has one."""
    if _pipeline is not None and _pipeline.pid == os.getpid():
        _pipeline.shutdown()


def scrape() -> bytes:
    """Everything measured by every process, in Prometheus' text format."""
    folder = _folder()
    if folder is None:
        return pipeline().text()
    pipeline().dump()
    shared = CollectorRegistry()
    MultiProcessCollector(shared, path=str(folder))  # type: ignore[no-untyped-call]
    shared.register(exposition.Sum(folder))
    return generate_latest(shared)
