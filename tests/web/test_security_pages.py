"""What a page shows of others runs nothing, and sends nobody anywhere."""

import json
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gallery.catalog.entries import entry_from
from gallery.catalog.recipes import InstallRecipe
from gallery.models import Gallery, Job, Plan, Revision
from gallery.services import plan_facts
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


def test_nothing_a_plan_says_runs_in_its_page(as_administrator: Client, models_path: Path) -> None:
    """What comes from a recipe, a registry, a model's header, a scan and an error, all of it hostile."""
    file = {
        "filename": HOSTILE, "uri": HOSTILE, "source": HOSTILE, "sha256": HOSTILE, "size": 1, "status": "fetch",
        "detail": HOSTILE, "same_as": HOSTILE, "unchecked": False, "replaces": False, "shared_with": [HOSTILE],
        "error": {"cause": HOSTILE, "sentence": HOSTILE, "action": HOSTILE, "passes": True},
    }  # fmt: skip
    header = dict.fromkeys(("file", "architecture", "name", "size_label", "quantisation"), HOSTILE)
    change = {"path": HOSTILE, "before": HOSTILE, "after": HOSTILE}
    changes = {
        "revision": 1, "unknown": True, "files": {"added": [file], "removed": [file], "changed": []},
        "config": [change], "by_hand": [], "templates": {"added": [HOSTILE], "removed": [], "changed": []},
        "backend": {"before": HOSTILE, "after": HOSTILE}, "nothing": False,
    }  # fmt: skip
    data = {
        "name": HOSTILE, "step": 1, "entry": {"gallery": HOSTILE, "name": HOSTILE, "description": HOSTILE},
        "license": plan_facts.licence(recipe_of(HOSTILE), entry_from({"name": "m", "license": HOSTILE})),
        "update": False, "files": [file] * 20, "configuration": HOSTILE, "changes": changes,
        "texts": [{"filename": HOSTILE, "status": "replace", "detail": HOSTILE}],
        "templates": [{"filename": HOSTILE, "content": HOSTILE}],
        "totals": {"files": 1, "fetch": 1, "here": 0, "write": 1, "unknown_sizes": 0, "to_fetch": 1},
        "disk": {"free": 9, "after": 8, "reserve": 1, "missing": 0, "exact": True},
        "memory": {"fit": "fits", "sentence": HOSTILE, "method": HOSTILE, "need": 1, "context_size": 1, "host": None,
                   "parts": [{"name": HOSTILE, "bytes": 1}],
                   "header": {**header, "layers": 1, "context_length": 1, "experts": 0, "parameters": 10**200}},
        "backend": {"name": HOSTILE, "here": False, "sentence": HOSTILE, "action": HOSTILE},
        "safety": {"policy": "block", "verdicts": [{"repository": HOSTILE, "result": "unsafe", "files": [HOSTILE],
                                                    "sentence": HOSTILE}]},
        "warnings": [{"kind": HOSTILE, "sentence": HOSTILE}],
        "refusals": [{"cause": HOSTILE, "sentence": HOSTILE, "action": HOSTILE}],
    }  # fmt: skip
    for state in (Plan.READY, Plan.FAILED, Plan.WORKING):
        plan = Plan.objects.create(
            subject="m" + HOSTILE, state=state, data=data, error=HOSTILE, action=HOSTILE, by=HOSTILE[:100],
            request={"name": "m", "entry": f"x@{HOSTILE}"}, cause=HOSTILE[:40],
        )  # fmt: skip
        for headers in ({}, {"HX-Request": "true"}):
            answer = as_administrator.get(plan.get_absolute_url(), headers=headers)
            assert answer.status_code == 200
            assert_harmless(answer)


def recipe_of(text: str) -> InstallRecipe:
    urls = ["javascript:alert(1)", "data:text/html,x", "//evil.example", text]
    return InstallRecipe("m", {}, (), gallery_file={"urls": urls, "license": text})


def test_nothing_a_gallery_a_disk_or_a_revision_says_runs_in_a_page(
    as_administrator: Client, hostile: Gallery, models_path: Path
) -> None:
    Gallery.objects.filter(pk=hostile.pk).update(
        url="javascript:alert(1)", mirrors=["data:text/html,x", HOSTILE], answered_by=HOSTILE, source=Gallery.CONSOLE,
        headers={HOSTILE: "x"},
    )  # fmt: skip
    name = HOSTILE.replace("/", "")
    (models_path / name).write_bytes(b"x" * 100)
    (models_path / ".ingest/suspect").mkdir(parents=True)
    (models_path / ".ingest/suspect/0-x").write_bytes(b"x")
    note = dict.fromkeys(("filename", "uri", "expected", "got"), HOSTILE)
    (models_path / ".ingest/suspect/0-x.json").write_text(json.dumps(note))
    (models_path / ".ingest" / name).mkdir()
    (models_path / ".ingest" / name / "part").write_bytes(b"x")
    recipe = {"config": {HOSTILE: HOSTILE}, "files": [], "templates": [[HOSTILE, HOSTILE]], "gallery_file": {}}
    Revision.objects.create(name="m", number=2, entry=HOSTILE, gallery="x", by=HOSTILE[:100], recipe=recipe)
    Revision.objects.create(
        name="m", number=1, is_current=False, entry=HOSTILE, kept_in=HOSTILE, kept_bytes=1, replaced_at=timezone.now(),
        recipe={**recipe, "config": {}},
    )  # fmt: skip
    pages = ("/gallery/galleries/", f"/gallery/galleries/{hostile.pk}/", "/disk/", "/gallery/revisions/m/",
             "/gallery/updates/", "/import/path/")  # fmt: skip
    tabs = ("models", "unused", "downloads", "suspects", "duplicates", "revisions")
    for page in (*pages, *(f"/disk/?tab={tab}" for tab in tabs)):
        answer = as_administrator.get(page)
        assert answer.status_code == 200, page
        assert_harmless(answer)


def test_words_of_a_search_are_marked_as_text(as_administrator: Client, hostile: Gallery, models_path: Path) -> None:
    hostile_entry(hostile, summary="<b>bold</b> & <script>alert(1)</script>", search="bold script alert")
    for words in ("script", "<script>", "alert bold", "&", "b>b", "(", "[a-", "\\", HOSTILE):
        answer = as_administrator.get("/gallery/", {"q": words})
        assert answer.status_code == 200
        assert_harmless(answer)
        assert "<script>alert" not in answer.content.decode()
