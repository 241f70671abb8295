"""What is measured and kept at each tick, and what is asked about one backend at a moment."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils import timezone

from localai_admin.lib.gpu import GpuReader
from models.backend.client import BackendClient
from models.backend.errors import BackendError, Unreachable
from models.backend.types import STATES, StateName
from models.models import Instance
from models.services import ModelNotLoaded, ModelUnknown, find_config, instance_for, request_stop
from models.states import ALIVE
from monitor.models import HostSample, Sample
from monitor.retention import Retention
from monitor.sampling import ProcessSample, Sampler, sample_process

#: How long a backend may take to tell its status. Seconds.
STATUS_TIMEOUT = 1.0

_CODES = {word: code for code, word in STATES.items()}


# --- A tick -----------------------------------------------------------------------------------------------------------


class Recorder:
    """Measures this node at each call, and keeps what it needs to compare with at the next. One thread at a time."""

    def __init__(self) -> None:
        self._sampler = Sampler()
        self._gpus = GpuReader()
        self._retention = Retention()

    def sample(self, now: datetime) -> int:
        """One row for each instance that has a process, one for the host. Returns how many instances were measured."""
        usages = self._sampler.sample_trees(_roots())
        Sample.objects.bulk_create(
            Sample(instance_id=key, at=now, cpu_percent=usage.cpu_percent, rss=usage.rss, processes=usage.processes)
            for key, usage in usages.items()
        )
        self._sample_host(now)
        self._retention.apply(now)
        return len(usages)

    def _sample_host(self, now: datetime) -> None:
        host = self._sampler.host(settings.MODELS_PATH)
        HostSample.objects.create(
            node=settings.NODE,
            at=now,
            cpu_percent=host.cpu_percent,
            cores=host.cores,
            memory_total=host.memory_total,
            memory_used=host.memory_used,
            disk_total=host.disk_total,
            disk_free=host.disk_free,
            gpus=[gpu.as_json() for gpu in self._gpus.read(time.monotonic())],
        )


def sample(now: datetime | None = None) -> int:
    """One tick of this process's recorder; raises django.db.Error while the database does not answer."""
    return _recorder().sample(now or timezone.now())


@cache
def _recorder() -> Recorder:
    return Recorder()


def _roots() -> dict[int, tuple[int, float]]:
    """The process of each live instance of this node, by the instance's primary key."""
    alive = Instance.objects.on_this_node().alive().values_list("pk", "pid", "pid_started")
    return {key: (pid, started) for key, pid, started in alive if pid is not None and started is not None}


# --- One backend at a moment ------------------------------------------------------------------------------------------


class ProcessGone(Exception):
    """The backend does not answer, and its process is no longer there. A retry helps: its agent sees it soon."""

    retry: ClassVar[bool] = True

    def __init__(self, name: str, pid: int | None) -> None:
        super().__init__(f"The process of {name} ({pid or 'unknown'}) is gone; look at the model's log for the reason.")


@dataclass(frozen=True)
class StatusReport:
    """How a backend is: from itself (source grpc), or of its process when it does not say (source process).

    `state` is the code of LocalAI's protocol, `memory_total` bytes, None where nobody says. From the process it is the
    virtual size, as in LocalAI, and the breakdown has the resident bytes. `error` says why the backend did not.
    """

    state: int
    memory_total: int | None
    breakdown: dict[str, int] = field(default_factory=dict)
    source: str = "grpc"
    error: str = ""

    @property
    def word(self) -> StateName:
        return STATES[self.state]

    def as_json(self) -> dict[str, Any]:
        """The shape LocalAI answers with: what is zero or unknown is left out."""
        memory = {"total": self.memory_total, "breakdown": self.breakdown}
        told = {key: value for key, value in memory.items() if value}
        return ({"state": self.state} if self.state else {}) | ({"memory": told} if told else {})


def check_and_sample(name: str) -> StatusReport:
    """Ask the backend of a model how it is; when it does not answer, look at its process instead.

    Raises ModelNotLoaded, ModelUnknown, and ProcessGone when there is no process either.
    """
    instance = _loaded(name)
    try:
        return _asked(instance)
    except BackendError as error:
        found = _sampled(instance)
        rss = found.memory_info.get("rss", 0)
        return StatusReport(-1, found.memory_info.get("vms"), {"gopsutil-RSS": rss}, "process", str(error))


def sample_local_backend_process(name: str) -> ProcessSample:
    """What the process tree of a model's backend uses. Raises ModelNotLoaded, ModelUnknown and ProcessGone."""
    return _sampled(_loaded(name))


def shutdown_model(name: str, by: AbstractBaseUser | AnonymousUser | None) -> Instance:
    """Record the wish that a model is shut down. Raises ModelNotLoaded and ModelUnknown."""
    return request_stop(name, by)


def _loaded(name: str) -> Instance:
    """The live instance of a model; its name is the key, whatever it ends in."""
    instance = instance_for(name)
    if instance is not None and instance.state in ALIVE:
        return instance
    raise ModelNotLoaded(name) if instance or find_config(name) else ModelUnknown(name)


def _asked(instance: Instance) -> StatusReport:
    if not instance.address:
        raise Unreachable(f"The backend of {instance.name} has no address yet; wait until it has started.")
    with BackendClient(instance.address) as client:
        status = client.status(timeout=STATUS_TIMEOUT)
    return StatusReport(_CODES[status.state], status.memory_total, dict(status.breakdown))


def _sampled(instance: Instance) -> ProcessSample:
    if instance.pid is None or instance.pid_started is None:
        raise ProcessGone(instance.name, instance.pid)
    found = sample_process(instance.pid, instance.pid_started)
    if found is None:
        raise ProcessGone(instance.name, instance.pid)
    return found
