"""The first page: is everything all right, and what can be done at once when it is not."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from gallery.job_figures import common_folder
from gallery.models import Job
from gallery.states import Kind, State
from localai_admin.overview import PROBLEMS_SHOWN
from models.models import Instance
from models.standing import standing
from models.states import Desired
from models.states import State as Stands
from monitor.models import HostSample

GIB = 1 << 30


@pytest.fixture
def host(db, models_path: Path) -> HostSample:
    """Two cards, of which the second came half an hour later."""
    row = {"node": "local", "cpu_percent": 5, "memory_total": 8 * GIB, "memory_used": GIB, "cores": 4}
    row |= {"disk_total": 100 * GIB, "disk_free": 60 * GIB}
    cards = [
        {"name": f"Card {number}", "memory_total": 24 * GIB, "memory_used": GIB, "load": None} for number in (1, 2)
    ]
    HostSample.objects.create(**row, at=timezone.now() - timedelta(minutes=30), gpus=cards[:1])
    return HostSample.objects.create(**row, gpus=cards)


def page(client: Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.content.decode()


def failed(subject: str) -> Job:
    return Job.objects.create(
        kind=Kind.INSTALL, subject=subject, state=State.FAILED, error="It broke.", action="Retry."
    )


def test_a_failed_job_is_retried_from_here_by_those_who_may(host, as_installer):
    job = failed("phi")
    assert f'action="/jobs/{job.pk}/retry/"' in page(as_installer)


def test_those_who_may_not_are_led_to_where_it_is_told(host, as_viewer):
    job = failed("phi")
    text = page(as_viewer)
    assert "/retry/" not in text
    assert f'href="/jobs/{job.pk}/" aria-label="Look at Install phi"' in text


def test_problems_that_are_too_many_are_counted(host, as_viewer):
    for number in range(PROBLEMS_SHOWN + 2):
        Instance.objects.create(name=f"m{number}", state=Stands.FAILED, desired=Desired.RUNNING, reason="exit code 1")
    text = page(as_viewer)
    assert f"{PROBLEMS_SHOWN + 2} things to look at" in text
    assert "2 more: see" in text


def test_a_model_that_gave_up_is_loaded_again_from_here(host, as_operator):
    Instance.objects.create(name="phi", state=Stands.FAILED, desired=Desired.RUNNING, reason="exit code 1")
    text = page(as_operator)
    assert 'action="/models/phi/load/"' in text
    assert "Exit code 1" in text


def test_every_card_is_shown_with_the_hour_that_it_was_there(host, as_viewer):
    text = page(as_viewer)
    assert text.count("Memory of the card over the last hour") == 2


def test_what_is_under_way_is_shown_with_its_bar(host, as_viewer):
    Job.objects.create(kind=Kind.INSTALL, subject="phi", state=State.DOWNLOADING, bytes_total=100, bytes_done=25)
    text = page(as_viewer)
    assert 'value="25" max="100"' in text
    assert "25 %" in text.split('id="strip"')[1].split("</div>")[0]


def test_a_silent_agent_is_said_once(host, as_viewer):
    HostSample.objects.update(at=timezone.now() - timedelta(minutes=10))
    text = page(as_viewer)
    assert "The agent is silent" in text
    assert "the agent has stopped measuring" not in text


@pytest.mark.parametrize(
    ("state", "desired", "shown"),
    [
        (Stands.STOPPED, Desired.RUNNING, Stands.STARTING),  # a load that was just asked for
        (Stands.READY, Desired.STOPPED, Stands.STOPPING),  # a shutdown that was just asked for
        (Stands.READY, Desired.RUNNING, Stands.READY),
        (Stands.STOPPED, Desired.STOPPED, Stands.STOPPED),
    ],
)
def test_a_wish_shows_at_once(state, desired, shown):
    assert standing(Instance(name="phi", state=state, desired=desired)).state == shown


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["phi/one.gguf", "phi/two.gguf"], "phi/"),
        (["phi/one.gguf", "phi/deep/two.gguf"], ""),  # not the same folder
        (["one.gguf", "two.gguf"], ""),  # none
        (["phi/one.gguf"], ""),  # of a single file, the whole name is said
    ],
)
def test_a_folder_that_all_files_share_is_said_once(names, folder):
    assert common_folder(names) == folder
