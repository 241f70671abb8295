"""What Hugging Face's scan says of a repository decides whether an install begins."""

import json

import pytest

from gallery.models import Entry, Gallery
from gallery.services import installs, queue, running
from gallery.states import State
from tests.fakes import http_server

pytestmark = pytest.mark.django_db(transaction=True)

PATH, FILE = "/api/models/o/r/scan", "/o/r/resolve/main/f.gguf"
CLEAN = {"hasUnsafeFile": False, "clamAVInfectedFiles": [], "dangerousPickles": [], "scansDone": True}
UNSAFE = CLEAN | {"hasUnsafeFile": True, "dangerousPickles": ["bad.pkl"]}


@pytest.fixture
def server(settings, models_path):
    queue.HUEY.flush()
    with http_server.running() as server:
        settings.HF_ENDPOINTS = (server.url(""),)
        server.gives(FILE, b"weights" * 1000)
        yield server


def installed():
    gallery = Gallery.objects.create(name="localai", url="https://x.test/index.yaml")
    data = {"name": "phi", "files": [{"filename": "f.gguf", "uri": "huggingface://o/r/f.gguf"}]}
    job = installs.request_install(Entry.objects.create(gallery=gallery, name="phi", data=data), "", None)
    running.run(job.pk, installs.run_install)
    job.refresh_from_db()
    return job


def why(job):
    return job.events.get(to_state=State.DOWNLOADING).why


def test_what_is_unsafe_is_not_fetched(server):
    server.gives(PATH, json.dumps(UNSAFE).encode())
    job = installed()
    assert (job.state, job.cause) == (State.FAILED, "unsafe")
    assert "o/r: bad.pkl" in job.error
    assert server.asked(FILE) == []


def test_a_warning_lets_it_through_and_is_kept_in_the_history(server, settings):
    settings.HF_SCAN = "warn"
    server.gives(PATH, json.dumps(UNSAFE).encode())
    job = installed()
    assert job.state == State.DONE
    assert "bad.pkl" in why(job)


def test_what_is_unknown_is_said_and_does_not_block(server):
    job = installed()
    assert job.state == State.DONE
    assert "not known whether o/r is safe" in why(job)


def test_what_is_safe_goes_without_a_word(server):
    server.gives(PATH, json.dumps(CLEAN).encode())
    job = installed()
    assert (job.state, why(job)) == (State.DONE, "it is known what is needed")


def test_nobody_is_asked_when_it_is_off(server, settings):
    settings.HF_SCAN = "off"
    server.gives(PATH, json.dumps(UNSAFE).encode())
    assert installed().state == State.DONE
    assert server.asked(PATH) == []
