"""How a backend is: from itself where it tells, from its process where it does not; and what is kept of each tick."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import grpc
import psutil
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from models.backend.proto import backend_pb2, backend_pb2_grpc
from models.models import Instance
from models.runtime.identity import Identity
from models.services import ModelNotLoaded, ModelUnknown
from models.states import Desired, State
from monitor.models import HostSample, Sample
from monitor.retention import ALL_KEPT, KEPT, SLOT, Retention
from monitor.services import (
    ProcessGone,
    Recorder,
    StatusReport,
    check_and_sample,
    sample,
    sample_local_backend_process,
    shutdown_model,
)

pytestmark = pytest.mark.django_db
Status = backend_pb2.StatusResponse


class Silent(backend_pb2_grpc.BackendServicer):
    """Does not implement Status, as most backends do not."""


class Telling(backend_pb2_grpc.BackendServicer):
    """Answers Status with what it was given, after a while if so wished."""

    def __init__(self, answer: Status, seconds: float = 0) -> None:
        self.answer, self.seconds = answer, seconds

    def Status(self, request: object, context: grpc.ServicerContext) -> Status:
        time.sleep(self.seconds)
        return self.answer


Serve = Callable[[backend_pb2_grpc.BackendServicer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts real servers and gives their addresses."""
    servers: list[grpc.Server] = []

    def start(servicer: backend_pb2_grpc.BackendServicer) -> str:
        server = grpc.server(ThreadPoolExecutor(2))
        backend_pb2_grpc.add_BackendServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait(10)


class Child(NamedTuple):
    process: "subprocess.Popen[bytes]"
    identity: Identity

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def child() -> Iterator[Child]:
    """A real process that holds 40 MiB and has burnt some CPU."""
    code = "import sys, time\nheld = bytearray(40 << 20)\nsum(range(3_000_000))\nprint(flush=True)\ntime.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    process.stdout.readline()
    identity = Identity.of(process.pid)
    assert identity
    yield Child(process, identity)
    process.kill()
    process.wait()
    process.stdout.close()


def loaded(name: str, address: str, of: Child | None = None, state: State = State.READY) -> Instance:
    identity = of.identity if of else None
    return Instance.objects.create(
        name=name,
        node="local",
        state=state,
        desired=Desired.RUNNING,
        address=address,
        pid=identity.pid if identity else None,
        pid_started=identity.started if identity else None,
    )


# --- check_and_sample -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code", "word"),
    [(Status.UNINITIALIZED, 0, "uninitialized"), (Status.BUSY, 1, "busy"), (Status.READY, 2, "ready"),
     (Status.ERROR, -1, "error")],
)  # fmt: skip
def test_a_backend_that_tells_its_status_is_believed(
    models_path: Path, serve: Serve, state: int, code: int, word: str
) -> None:
    memory = backend_pb2.MemoryUsageData(total=123456, breakdown={"weights": 120000})
    loaded("tiny", serve(Telling(Status(state=state, memory=memory))))
    report = check_and_sample("tiny")
    assert (report.state, report.word, report.source, report.error) == (code, word, "grpc", "")
    assert (report.memory_total, report.breakdown) == (123456, {"weights": 120000})


def test_a_memory_nobody_told_is_not_zero(models_path: Path, serve: Serve) -> None:
    loaded("tiny", serve(Telling(Status(state=Status.READY))))
    assert check_and_sample("tiny").memory_total is None


def test_a_backend_without_status_is_looked_at_from_outside(models_path: Path, serve: Serve, child: Child) -> None:
    loaded("tiny", serve(Silent()), child)
    report = check_and_sample("tiny")
    memory = psutil.Process(child.identity.pid).memory_info()
    assert (report.state, report.word, report.source) == (-1, "error", "process")
    assert report.memory_total == pytest.approx(memory.vms, rel=0.1)
    assert report.breakdown == {"gopsutil-RSS": pytest.approx(memory.rss, rel=0.1)}
    assert report.error


def test_a_backend_that_does_not_answer_in_time_is_looked_at_from_outside(
    models_path: Path, serve: Serve, child: Child
) -> None:
    loaded("tiny", serve(Telling(Status(state=Status.READY), seconds=2)), child)
    began = time.monotonic()
    report = check_and_sample("tiny")
    assert time.monotonic() - began < 1.9
    assert (report.state, report.source) == (-1, "process")


def test_a_backend_that_is_not_listening_is_looked_at_from_outside(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    assert check_and_sample("tiny").source == "process"


def test_a_dead_process_is_an_error_that_says_so(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    child.end()
    with pytest.raises(ProcessGone, match=rf"process of tiny \({child.identity.pid}\) is gone"):
        check_and_sample("tiny")


def test_a_process_that_took_over_the_id_is_not_taken_for_the_backend(models_path: Path, child: Child) -> None:
    instance = loaded("tiny", "127.0.0.1:1", child)
    Instance.objects.filter(pk=instance.pk).update(pid_started=child.identity.started - 1000)
    with pytest.raises(ProcessGone):
        check_and_sample("tiny")


@pytest.mark.parametrize("ask", [check_and_sample, sample_local_backend_process])
def test_a_model_that_is_not_loaded_is_an_error_of_its_own(models_path: Path, ask: Callable[[str], object]) -> None:
    (models_path / "idle.yaml").write_text("name: idle\n")
    loaded("stopped", "", state=State.STOPPED)
    Instance.objects.create(name="far", node="elsewhere", state=State.READY, address="127.0.0.1:1")
    (models_path / "far.yaml").write_text("name: far\n")
    for name in ("idle", "stopped", "far"):
        with pytest.raises(ModelNotLoaded, match=f"{name} is not loaded"):
            ask(name)


@pytest.mark.parametrize("ask", [check_and_sample, sample_local_backend_process])
def test_a_model_that_is_not_here_is_another_error(models_path: Path, ask: Callable[[str], object]) -> None:
    with pytest.raises(ModelUnknown, match="no model named nobody") as unknown:
        ask("nobody")
    assert not isinstance(unknown.value, ModelNotLoaded)


def test_a_name_is_resolved_through_its_configuration(models_path: Path, serve: Serve) -> None:
    (models_path / "x.yaml").write_text("name: tiny\nparameters: {model: tiny.gguf}\n")
    (models_path / "y.yaml").write_text("name: small\nalias: tiny\n")
    loaded("tiny", serve(Telling(Status(state=Status.READY))))
    assert check_and_sample("small").word == "ready"


@pytest.mark.parametrize("name", ["model.bin", "ggml.gguf.bin", "org/model"])
def test_a_name_is_the_key_whatever_it_ends_in(models_path: Path, serve: Serve, child: Child, name: str) -> None:
    (models_path / "m.yaml").write_text(f"name: {name}\nparameters: {{model: other}}\n")
    loaded(name, serve(Silent()), child)
    assert check_and_sample(name).source == "process"
    assert sample_local_backend_process(name).memory_info["rss"] > 40 << 20


@pytest.mark.parametrize(
    ("report", "shape"),
    [
        (StatusReport(2, 123456, {"gopsutil-RSS": 120000}),
         {"state": 2, "memory": {"total": 123456, "breakdown": {"gopsutil-RSS": 120000}}}),
        (StatusReport(-1, 5, {}), {"state": -1, "memory": {"total": 5}}),
        (StatusReport(2, None), {"state": 2}),  # what nobody knows is left out
        (StatusReport(0, None), {}),  # and so is a state of zero
    ],
)  # fmt: skip
def test_a_report_has_the_shape_that_localai_answers_with(report: StatusReport, shape: dict[str, object]) -> None:
    assert report.as_json() == shape


# --- sample_local_backend_process, shutdown_model ---------------------------------------------------------------------


def test_the_process_of_a_backend_is_measured(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    found = sample_local_backend_process("tiny")
    process = psutil.Process(child.identity.pid)
    assert found.memory_info["rss"] == pytest.approx(process.memory_info().rss, rel=0.1)
    assert found.memory_percent == pytest.approx(process.memory_percent(), rel=0.1)
    assert found.cpu_percent > 0


def test_an_instance_that_has_no_process_yet_is_told_apart(models_path: Path) -> None:
    loaded("tiny", "", state=State.STARTING)
    with pytest.raises(ProcessGone, match="unknown"):
        sample_local_backend_process("tiny")


def test_a_shutdown_is_a_wish_with_a_name(models_path: Path, operator: User) -> None:
    instance = loaded("tiny.bin", "127.0.0.1:1")
    shutdown_model("tiny.bin", operator)
    instance.refresh_from_db()
    assert (instance.desired, instance.desired_by, instance.state) == (
        Desired.STOPPED,
        operator.get_username(),
        State.READY,
    )
    with pytest.raises(ModelUnknown):
        shutdown_model("nobody", operator)


# --- Ticks ------------------------------------------------------------------------------------------------------------


def test_a_tick_keeps_a_row_for_each_backend_and_one_for_the_host(models_path: Path, child: Child) -> None:
    there = loaded("there", "127.0.0.1:1", child)
    loaded("starting", "", state=State.STARTING)
    stopped = loaded("stopped", "", child, state=State.STOPPED)
    now = timezone.now()
    assert Recorder().sample(now) == 1
    row = Sample.objects.get()
    assert (row.instance, row.at, row.processes) == (there, now, 1)
    assert row.rss == pytest.approx(psutil.Process(child.identity.pid).memory_info().rss, rel=0.1)
    assert not Sample.objects.filter(instance=stopped).exists()
    host = HostSample.objects.get()
    assert (host.node, host.at, host.cores) == ("local", now, os.cpu_count())
    assert 0 < host.memory_used < host.memory_total
    assert 0 < host.disk_free <= host.disk_total


def test_a_backend_that_is_gone_has_no_row_rather_than_zeros(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    child.end()
    assert Recorder().sample(timezone.now()) == 0
    assert not Sample.objects.exists()


def test_backends_of_another_node_are_left_to_its_agent(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    Instance.objects.update(node="elsewhere")
    assert Recorder().sample(timezone.now()) == 0


def test_samples_are_thrown_away_after_an_hour_once_a_minute(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    recorder, start = Recorder(), timezone.now()
    recorder.sample(start)
    recorder.sample(start + KEPT)
    assert Sample.objects.count() == HostSample.objects.count() == 2
    recorder.sample(start + KEPT + timedelta(seconds=59))
    assert Sample.objects.count() == HostSample.objects.count() == 3
    recorder.sample(start + KEPT + timedelta(seconds=61))
    assert Sample.objects.count() == HostSample.objects.count() == 3
    assert not Sample.objects.filter(at=start).exists()


def test_samples_that_are_not_new_any_more_are_thinned_and_every_series_stays_whole(models_path: Path) -> None:
    # On a slot's edge: the slot that is still filling is not thinned yet.
    now = timezone.now().replace(second=0, microsecond=0)
    instances = [loaded(name, "") for name in ("one", "two")]
    times = [now - timedelta(seconds=second) for second in range(0, 3600, 2)]
    Sample.objects.bulk_create(Sample(instance=i, at=at, cpu_percent=1, rss=1) for i in instances for at in times)
    figures = {"cpu_percent": 1, "memory_total": 1, "memory_used": 1, "disk_total": 1, "disk_free": 1}
    HostSample.objects.bulk_create(HostSample(node=n, at=at, **figures) for n in ("local", "other") for at in times)
    retention = Retention()
    retention.apply(now)
    for rows in (Sample.objects.filter(instance=instances[0]), HostSample.objects.filter(node="local")):
        kept = list(rows.order_by("at").values_list("at", flat=True))
        assert sum(at > now - ALL_KEPT for at in kept) == 60
        assert len(kept) <= 60 + 3600 / SLOT
        assert max((b - a).total_seconds() for a, b in pairwise(kept)) < 2 * SLOT
    assert HostSample.objects.filter(node="other").count() == 1800, "another agent's"
    retention.apply(now + timedelta(minutes=2))
    assert Sample.objects.filter(instance=instances[1], at__gt=now - ALL_KEPT).count() == pytest.approx(12, abs=1)


def test_samples_from_a_clock_that_was_wrong_do_not_stay(models_path: Path, child: Child) -> None:
    loaded("tiny", "127.0.0.1:1", child)
    recorder, now = Recorder(), timezone.now()
    recorder.sample(now + timedelta(days=300))
    recorder.sample(now)
    assert [row.at for row in Sample.objects.all()] == [now]


def test_a_tick_costs_the_same_number_of_queries_for_many_backends(
    models_path: Path, child: Child, django_assert_max_num_queries
) -> None:
    for number in range(50):
        loaded(f"m{number}", "127.0.0.1:1", child)
    recorder, now = Recorder(), timezone.now()
    recorder.sample(now)
    with django_assert_max_num_queries(3):
        assert recorder.sample(now + timedelta(seconds=2)) == 50


def test_the_agents_tick_takes_the_time_of_now(models_path: Path) -> None:
    sample()
    assert abs((timezone.now() - HostSample.objects.get().at).total_seconds()) < 60
