"""The history of jobs in the admin: to read, to filter, to search; never to change."""

import pytest
from django.contrib import admin
from django.urls import reverse

from gallery.models import Gallery, Job
from gallery.services import jobs, queue
from gallery.states import Kind, State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def job():
    job, _ = jobs.create(Kind.INSTALL, "phi", {"name": "phi"}, None)
    job.files.create(filename="phi.gguf", uri="https://x.test/phi.gguf")
    job.move(State.QUEUED, State.FAILED, "The line dropped.", error="The line dropped.")
    return job


def list_of(client, **query):
    return client.get(reverse("admin:gallery_job_changelist"), query).content.decode()


def test_the_history_lists_jobs_and_filters_them(as_administrator, job):
    other, _ = jobs.create(Kind.DELETE, "qwen", {}, None)
    everything = list_of(as_administrator)
    assert "phi" in everything
    assert "qwen" in everything
    for query in ({"state__exact": "failed"}, {"kind__exact": "install"}, {"q": "line dropped"}, {"q": "phi"}):
        found = list_of(as_administrator, **query)
        assert str(job.pk) in found
        assert str(other.pk) not in found


def test_a_job_is_shown_with_its_files_and_events_and_without_a_way_to_change_them(as_administrator, job):
    page = as_administrator.get(reverse("admin:gallery_job_change", args=[job.pk])).content.decode()
    assert "phi.gguf" in page
    assert "The line dropped." in page
    assert "asked for" in page
    assert 'name="_save"' not in page
    assert "deletelink" not in page


@pytest.mark.parametrize("model", ["job", "gallery"])
def test_nothing_can_be_added(as_administrator, model):
    assert as_administrator.get(reverse(f"admin:gallery_{model}_add")).status_code == 403


def test_nothing_can_be_changed_or_deleted(as_administrator, job):
    change = reverse("admin:gallery_job_change", args=[job.pk])
    assert as_administrator.post(change, {"subject": "other"}).status_code == 403
    assert as_administrator.post(reverse("admin:gallery_job_delete", args=[job.pk]), {"post": "yes"}).status_code == 403
    assert Job.objects.get().subject == "phi"


def test_galleries_are_to_read(as_administrator):
    gallery = Gallery.objects.create(name="localai", url="https://x.test/index.yaml", error="It was away.")
    page = as_administrator.get(reverse("admin:gallery_gallery_changelist")).content.decode()
    assert "https://x.test/index.yaml" in page
    assert "It was away." in page
    assert (
        'name="_save"'
        not in as_administrator.get(reverse("admin:gallery_gallery_change", args=[gallery.pk])).content.decode()
    )


def test_every_class_of_this_admin_is_read_only(rf, administrator):
    request = rf.get("/")
    request.user = administrator
    for model in (Job, Gallery):
        site = admin.site._registry[model]
        assert not (
            site.has_add_permission(request)
            or site.has_change_permission(request)
            or site.has_delete_permission(request)
        )
