from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.urls import reverse
from django.utils import timezone

from models.backend.proto import backend_pb2
from models.models import Instance, InstanceEvent
from models.runtime import logs
from models.states import Desired, State
from monitor.models import HostSample, Sample
from tests.fakes.answering_backend import AnsweringBackend

HTMX = {"HX-Request": "true"}
GIB = 1 << 30


@pytest.fixture
def folder(db, models_path: Path, tmp_path: Path, settings) -> Path:
    settings.LOGS_PATH = tmp_path / "logs"
    settings.LOGS_PATH.mkdir()
    (models_path / "llava.yaml").write_text("name: llava\nbackend: fake\nknown_usecases: [chat]\n")
    return models_path


@pytest.fixture
def llava(folder) -> Instance:
    return running("llava")


@pytest.fixture
def backend() -> Iterator[AnsweringBackend]:
    server = AnsweringBackend()
    yield server
    server.stop()


def running(name: str, **fields) -> Instance:
    instance = Instance.objects.create(
        name=name,
        state=State.READY,
        desired=Desired.RUNNING,
        pid=4242,
        address="127.0.0.1:50051",
        ready_at=timezone.now() - timedelta(minutes=5),
        **fields,
    )
    now = timezone.now()
    Sample.objects.bulk_create(
        Sample(
            instance=instance, at=now - timedelta(seconds=5 * age), cpu_percent=150 - age, rss=GIB + age, processes=3
        )
        for age in range(60)
    )
    return instance


def host(**fields) -> None:
    now = timezone.now()
    HostSample.objects.bulk_create(
        HostSample(
            node="local",
            at=now - timedelta(seconds=10 * age),
            cpu_percent=37.5,
            cores=8,
            memory_total=8 * GIB,
            memory_used=3 * GIB,
            disk_total=100 * GIB,
            disk_free=42 * GIB,
            **fields,
        )
        for age in range(30)
    )


def index(client, **query):
    return client.get(reverse("monitor:index"), query)


def detail(client, name: str = "llava", **query):
    return client.get(reverse("monitor:detail", args=[name]), query)


def test_the_host_is_shown_with_figures_and_sparklines(folder, as_viewer):
    host(gpus=[{"name": "Big Card", "memory_total": 24 * GIB, "memory_used": 6 * GIB, "load": 12.0}])
    text = index(as_viewer).content.decode()
    for words in ("38 %", "of 8 cores", "3.0 GiB", "of 8.0 GiB", "42.0 GiB", "Big Card", "6.0 GiB", "polyline"):
        assert words in text


def test_without_samples_the_page_says_where_figures_come_from(folder, as_viewer):
    text = index(as_viewer).content.decode()
    assert "Nothing was measured on this host in the last hour" in text
    assert "No backend is running" in text


def test_an_agent_that_is_silent_is_said(folder, as_viewer):
    host()
    HostSample.objects.update(at=timezone.now() - timedelta(minutes=10))
    assert "the agent has stopped measuring" in index(as_viewer).content.decode()


def test_each_backend_is_a_row_with_its_share_of_the_host(llava, as_viewer):
    host()
    text = index(as_viewer).content.decode()
    for words in ("llava", "Ready", "150 %", "1.0 GiB", "12 %", "4242", "127.0.0.1:50051"):
        assert words in text


def test_a_figure_that_is_old_is_not_shown_as_now(llava, as_viewer):
    Sample.objects.update(at=timezone.now() - timedelta(minutes=3))
    row = index(as_viewer).context["rows"][0][0]
    assert row.rss is None
    assert row.cpu_percent is None


def test_the_index_takes_as_many_queries_for_many_backends_as_for_few(folder, as_viewer, django_assert_max_num_queries):
    host()
    for number in range(20):
        running(f"model-{number}")
    with django_assert_max_num_queries(13):
        index(as_viewer)


def test_a_poll_of_an_unchanged_index_has_no_content(llava, as_viewer):
    host()
    mark = index(as_viewer).context["mark"]
    assert as_viewer.get(reverse("monitor:index"), {"since": mark}, headers=HTMX).status_code == 204


def test_a_poll_after_a_sample_brings_the_part_alone(llava, as_viewer):
    host()
    mark = index(as_viewer).context["mark"]
    HostSample.objects.update(at=timezone.now() + timedelta(seconds=1))
    response = as_viewer.get(reverse("monitor:index"), {"since": mark}, headers=HTMX)
    assert response.status_code == 200
    assert b"<html" not in response.content


def test_a_backend_has_charts_with_its_changes_of_state_marked(llava, as_viewer):
    InstanceEvent.objects.create(
        instance=llava, at=timezone.now() - timedelta(minutes=4), by="agent", from_state="loading", to_state="ready"
    )
    InstanceEvent.objects.create(
        instance=llava, by="someone", from_state="ready", to_state="ready", why="load requested"
    )
    response = detail(as_viewer)
    assert [mark.label.split()[0] for mark in response.context["charts"].cpu.marks] == ["ready"]
    assert '<line class="mark"' in response.content.decode()


def test_a_model_that_was_never_loaded_has_a_page_with_load(folder, as_operator):
    text = detail(as_operator).content.decode()
    assert "Nothing was measured" in text
    assert "Load llava" in text


def test_a_poll_of_an_unchanged_backend_is_one_query(llava, as_viewer, django_assert_num_queries):
    mark = detail(as_viewer).context["mark"]
    with django_assert_num_queries(5):  # session, user, two for permissions, and the one
        response = as_viewer.get(reverse("monitor:detail", args=["llava"]), {"since": mark}, headers=HTMX)
    assert response.status_code == 204


def test_another_name_goes_to_the_model_it_stands_for(folder, as_viewer):
    (folder / "gpt-4.yaml").write_text("name: gpt-4\nalias: llava\n")
    response = detail(as_viewer, "gpt-4")
    assert response.status_code == 302
    assert response["Location"] == reverse("monitor:detail", args=["llava"])


def test_nothing_of_that_name_is_not_found(folder, as_viewer):
    assert detail(as_viewer, "nobody").status_code == 404


def answers_at(backend: AnsweringBackend) -> None:
    """Its process is the test's own."""
    process = psutil.Process()
    Instance.objects.update(address=backend.address, pid=process.pid, pid_started=process.create_time())


def test_what_a_backend_says_of_itself_comes_in_a_request_of_its_own(llava, backend, as_viewer):
    answers_at(backend)
    backend.memory = backend_pb2.MemoryUsageData(total=5 << 20, breakdown={"model": 3 << 20})
    text = as_viewer.get(reverse("monitor:status", args=["llava"])).content.decode()
    for words in ("Ready", "5.0 MiB", "model", "3.0 MiB"):
        assert words in text


def test_a_backend_that_says_nothing_of_itself_is_no_error(llava, backend, as_viewer):
    answers_at(backend)
    response = as_viewer.get(reverse("monitor:status", args=["llava"]))
    assert response.status_code == 200
    assert "The figures above are the operating system" in response.content.decode()


def test_a_backend_that_cannot_be_reached_is_a_sentence(llava, backend, as_viewer):
    answers_at(backend)
    backend.stop()
    assert b"Nothing:" in as_viewer.get(reverse("monitor:status", args=["llava"])).content


def test_a_backend_whose_process_is_gone_is_a_sentence(llava, as_viewer):
    Instance.objects.update(pid=None)
    assert b"is gone" in as_viewer.get(reverse("monitor:status", args=["llava"])).content


def test_a_model_that_is_not_loaded_says_nothing_of_itself(folder, as_viewer):
    assert b"is not loaded" in as_viewer.get(reverse("monitor:status", args=["llava"])).content
    assert as_viewer.get(reverse("monitor:status", args=["nobody"])).status_code == 404


def log_file(settings, name: str = "llava") -> Path:
    return logs.log_path(settings.LOGS_PATH, name)


def test_the_end_of_the_log_is_shown_as_text(llava, as_operator, settings):
    log_file(settings).write_text("".join(f"line {number} <b>\n" for number in range(1000)))
    text = detail(as_operator).content.decode()
    assert "line 999 &lt;b&gt;" in text
    assert "line 800 " in text
    assert "line 799 " not in text


def test_the_log_of_the_run_before_and_of_the_first_failure_can_be_chosen(llava, as_operator, settings):
    path = log_file(settings)
    path.write_text("now\n")
    assert "Run before" not in detail(as_operator).content.decode()
    logs.previous_path(path).write_text("before\n")
    logs.first_failure_path(path).write_text("broke\n")
    url = reverse("monitor:log", args=["llava"])
    assert "First failure" in detail(as_operator).content.decode()
    assert b"before" in as_operator.get(url, {"run": "previous"}, headers=HTMX).content
    assert b"broke" in as_operator.get(url, {"run": "first-failure"}, headers=HTMX).content
    assert b"now" in as_operator.get(url, {"run": "../../etc/passwd"}, headers=HTMX).content


def test_a_log_that_has_not_grown_has_no_content(llava, as_operator, settings):
    log_file(settings).write_text("one\n")
    url = reverse("monitor:log", args=["llava"])
    mark = as_operator.get(url, headers=HTMX).context["log_mark"]
    assert as_operator.get(url, {"since": mark}, headers=HTMX).status_code == 204
    log_file(settings).write_text("one\ntwo\n")
    assert as_operator.get(url, {"since": mark}, headers=HTMX).status_code == 200


def test_the_log_is_there_as_plain_text(llava, as_operator, settings):
    log_file(settings).write_text("<script>\n")
    response = as_operator.get(reverse("monitor:log", args=["llava"]))
    assert response["Content-Type"].startswith("text/plain")
    assert response.content == b"<script>\n"


def test_a_viewer_sees_figures_but_neither_log_nor_prompt(llava, as_viewer, settings):
    log_file(settings).write_text("private words\n")
    text = detail(as_viewer).content.decode()
    assert "private words" not in text
    assert "<textarea" not in text
    assert as_viewer.get(reverse("monitor:log", args=["llava"])).status_code == 403


def test_a_model_that_answers_no_text_says_what_it_is_for(llava, folder, as_operator):
    (folder / "llava.yaml").write_text(
        "name: llava\nbackend: fake\nknown_usecases: [transcript, speaker_recognition]\n"
    )
    text = detail(as_operator).content.decode()
    assert "it is for speaker recognition, transcript" in text
    assert "<textarea" not in text
