"""What a page shows of others runs nothing, and sends nobody anywhere."""

import json
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from gallery.models import Gallery, Job
from gallery.states import Kind
from models.models import Instance
from tests.fakes.attacks import (
    HOSTILE,
    assert_harmless,
    hostile_entry,
    hostile_gallery,
)


pytestmark = pytest.mark.django_db


@pytest.fixture
def hostile() -> Gallery:
    return hostile_gallery()


def test_nothing_a_gallery_says_runs_in_a_page(as_administrator: Client, hostile: Gallery, models_path: Path) -> None:
    entry = hostile_entry(hostile)
    hostile_entry(hostile, name='"onmouseover="alert(1)', position=2, icon='https://x.example/"onerror="alert(1)')
    for url in ("/gallery/", "/", entry.get_absolute_url(), "/gallery/?q=" + HOSTILE, "/gallery/?tag=" + HOSTILE):
        answer = as_administrator.get(url)
        assert answer.status_code == 200, url
        assert_harmless(answer)


def test_nothing_a_job_holds_runs_in_a_page(as_administrator: Client, models_path: Path) -> None:
    for state in ("failed", "retrying", "downloading", "done"):
        job = Job.objects.create(
            kind=Kind.INSTALL,
            subject=state + HOSTILE,
            request={"x": HOSTILE},
            state=state,
            error=HOSTILE,
            action=HOSTILE,
            message=HOSTILE,
            by=HOSTILE[:150],
        )
        job.files.create(filename=HOSTILE, uri=HOSTILE, position=0, status=HOSTILE[:20])
        job.events.create(by=HOSTILE[:150], from_state="queued", to_state=state, why=HOSTILE)
        for url in (job.get_absolute_url(), f"/django-admin/gallery/job/{job.pk}/change/"):
            answer = as_administrator.get(url)
            assert answer.status_code == 200
            assert_harmless(answer)
    for url in ("/jobs/", "/jobs/?tab=attention", "/jobs/?tab=record&q=" + HOSTILE, "/", "/django-admin/gallery/job/"):
        assert_harmless(as_administrator.get(url))


def test_nothing_a_model_or_its_backend_says_runs_in_a_page(
    as_administrator: Client, models_path: Path, settings
) -> None:
    name = '"><svg onload=alert(1)>'
    config = {"name": name, "description": HOSTILE, "backend": "x", "parameters": {"model": "<b>.gguf"}, "x": HOSTILE}
    (models_path / "m.yaml").write_text(json.dumps(config))
    (models_path / '"><img src=x onerror=alert(1)>.gguf').write_bytes(b"x")
    (models_path / "<script>alert(1).yaml").write_text("- {")
    instance = Instance.objects.create(
        name=name, node=settings.NODE, state="failed", reason=HOSTILE, backend=HOSTILE[:60]
    )
    instance.events.create(by=HOSTILE, from_state="stopped", to_state="failed", why=HOSTILE)
    from monitor.views.log import runs

    log = runs(name)[0].path
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{HOSTILE}\n</div></pre><script>alert(2)</script>\n")
    for url in (
        "/models/",
        "/monitor/",
        "/",
        reverse("models:detail", args=[name]),
        reverse("monitor:detail", args=[name]),
        reverse("gallery:delete", args=[name]),
        reverse("monitor:log", args=[name]),
        "/models/?q=" + HOSTILE,
    ):
        answer = as_administrator.get(url)
        assert answer.status_code == 200, url
        if answer.headers["Content-Type"].startswith("text/html"):
            assert_harmless(answer)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_prompt_and_its_refusal_are_shown_as_text(as_administrator: Client, models_path: Path) -> None:
    (models_path / "m.yaml").write_text("name: m\nparameters: {model: m.gguf}\n")
    answer = as_administrator.post(reverse("monitor:prompt", args=["m"]), {"prompt": HOSTILE + "</textarea>"})
    assert answer.status_code == 409
    assert_harmless(answer)
