from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gallery import markdown
from gallery.models import Entry, Gallery, Job, Plan
from gallery.states import Kind, State

HTMX = {"HX-Request": "true"}


@pytest.fixture
def gallery(db, models_path: Path) -> Gallery:
    return Gallery.objects.create(name="localai", url="https://example.org/", digest="d", refreshed_at=timezone.now())


def entry_of(gallery: Gallery, name: str = "qwen3", **data: Any) -> Entry:
    fields = {key: data.pop(key) for key in ("size", "license", "backend", "tags", "usecases", "icon") if key in data}
    return Entry.objects.create(gallery=gallery, name=name, data={"name": name, **data}, **fields)


def page(client: Client, name: str = "qwen3", status: int = 200) -> str:
    response = client.get(f"/gallery/localai/{name}/")
    assert response.status_code == status
    return response.content.decode()


def install(client: Client, **form: str) -> Any:
    return client.post("/gallery/localai/qwen3/install/", form)


def test_the_page_says_what_the_model_is_and_what_would_be_fetched(gallery, as_viewer):
    entry_of(
        gallery,
        size=5 << 30,
        license="apache-2.0",
        backend="llama-cpp",
        tags=["llm"],
        usecases=["chat"],
        description="A **quick** model.",
        urls=["https://huggingface.co/o/r", "javascript:alert(1)"],
        files=[
            {"filename": "m/q.gguf", "uri": "huggingface://o/r/q.gguf", "sha256": "a" * 64},
            {"filename": "x.bin", "uri": "https://example.org/x.bin"},
        ],
        overrides={"context_size": 8192, "parameters": {"model": "m/q.gguf"}},
    )
    text = page(as_viewer)
    for part in (
        "5.0 GiB",
        "apache-2.0",
        "llama-cpp",
        "<strong>quick</strong>",
        "Hugging Face o/r",
        "example.org",
        "8,192 tokens",
    ):
        assert part in text
    assert "No digest: cannot be checked" in text
    assert "context_size: 8192" in text
    assert 'href="https://huggingface.co/o/r" rel="noopener noreferrer nofollow"' in text
    assert 'href="javascript' not in text


def test_a_model_that_runs_code_of_its_own_says_so_before_anything_else(gallery, as_viewer):
    entry_of(gallery, overrides={"engine_args": {"trust_remote_code": True}})
    entry_of(gallery, name="tame", overrides={"trust_remote_code": False})
    assert "runs code that comes with it" in page(as_viewer)
    assert "runs code that comes with it" not in page(as_viewer, "tame")


def test_other_builds_are_side_by_side_and_a_missing_one_says_so(gallery, as_viewer):
    entry_of(gallery, variants=[{"model": "qwen3-q8"}, {"model": "gone"}, None, {"model": "qwen3-q8"}])
    entry_of(gallery, name="qwen3-q8", size=9 << 30, backend="vllm")
    text = page(as_viewer)
    assert text.count('href="/gallery/localai/qwen3-q8/"') == 1
    assert "9.0 GiB" in text
    assert "The gallery has no entry of this name." in text


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"description": None, "urls": None, "files": None, "variants": None, "overrides": None},
        {"description": 7, "urls": [3, None, "http://["], "files": ["x", None, {"uri": None}], "variants": "x"},
        {"overrides": [1], "config_file": "text: here", "files": [{"uri": "https://["}]},
    ],
)
def test_whatever_an_entry_has_in_it_there_is_a_page(gallery, as_viewer, data):
    entry_of(gallery, **data)
    assert "qwen3" in page(as_viewer)


@pytest.mark.parametrize("name", ["voice-pt_PT-tugão-medium", "llama-3.2:q4_k_m", "a name"])
def test_names_with_odd_letters_have_a_page_and_can_be_installed(gallery, as_installer, name):
    found = entry_of(gallery, name=name)
    assert as_installer.get(found.get_absolute_url()).status_code == 200


def test_an_entry_that_is_not_there_is_not_found(gallery, as_viewer):
    page(as_viewer, "nothing", status=404)


def test_an_entry_of_a_gallery_that_is_switched_off_is_not_found(gallery, as_viewer):
    entry_of(gallery)
    Gallery.objects.update(enabled=False)
    page(as_viewer, status=404)


def test_installing_leads_to_its_plan_and_nothing_is_begun(gallery, as_installer):
    entry_of(gallery, files=[])
    response = install(as_installer, name="")
    plan = Plan.objects.get()
    assert response.status_code == 303
    assert response.headers["Location"] == f"/plans/{plan.pk}/"
    assert (plan.subject, plan.by, plan.request) == (
        "qwen3", "installer-person", {"entry": "localai@qwen3", "name": "qwen3"},
    )  # fmt: skip
    assert not Job.objects.exists()


def test_another_name_can_be_chosen(gallery, as_installer):
    entry_of(gallery)
    install(as_installer, name="  my-model ")
    assert (Plan.objects.get().subject, Plan.objects.get().request["name"]) == ("my-model", "my-model")


def test_asking_twice_leads_to_the_same_plan(gallery, as_installer):
    entry_of(gallery)
    first = install(as_installer, name="").headers["Location"]
    assert install(as_installer, name="").headers["Location"] == first


@pytest.mark.parametrize("typed", ["../evil", "a/b", ".hidden", "a\x07b", "a\\b", "x" * 300, "/etc/passwd"])
def test_a_name_that_no_model_can_have_is_refused_beside_the_field_and_kept(gallery, as_installer, typed):
    entry_of(gallery)
    response = install(as_installer, name=typed)
    text = response.content.decode()
    assert response.status_code == 422
    assert 'class="field-error" id="id_name_error"' in text
    assert f'value="{typed}"' in text
    assert not Plan.objects.exists()


def test_the_address_of_a_refused_form_leads_back_to_the_entry(gallery, as_installer):
    entry_of(gallery)
    assert as_installer.get("/gallery/localai/qwen3/install/").headers["Location"] == "/gallery/localai/qwen3/"


def test_from_a_card_one_comes_to_the_plan_too(gallery, as_installer):
    entry_of(gallery)
    response = as_installer.post(
        "/gallery/localai/qwen3/install/", headers={"Referer": "http://testserver/gallery/?q=qwen"}
    )
    assert response.status_code == 303
    assert response.headers["Location"] == f"/plans/{Plan.objects.get().pk}/"


def test_the_page_says_about_whether_it_fits(gallery, as_viewer):
    entry_of(gallery, size=1 << 20)
    entry_of(gallery, name="huge", size=1 << 60)
    entry_of(gallery, name="unknown")
    assert "Fits</span>" in page(as_viewer)
    assert "Does not fit</span>" in page(as_viewer, "huge")
    assert "the plan finds out" in page(as_viewer, "unknown")


def test_a_viewer_may_look_but_not_install(gallery, as_viewer):
    entry_of(gallery)
    assert "/install/" not in page(as_viewer)
    assert install(as_viewer, name="").status_code == 403
    assert not Plan.objects.exists()


def test_an_installed_model_is_a_link_away(gallery, as_viewer, models_path):
    entry_of(gallery)
    (models_path / "qwen3.yaml").write_text("name: qwen3\n")
    (models_path / "._gallery_qwen3.yaml").write_text("name: qwen3\n")
    assert 'href="/models/qwen3/"' in page(as_viewer)


def test_a_model_that_is_being_installed_shows_its_job_and_asks_again(gallery, as_installer):
    entry_of(gallery)
    job = Job.objects.create(
        kind=Kind.INSTALL, subject="qwen3", state=State.DOWNLOADING, bytes_total=4 << 30, bytes_done=1 << 30
    )
    text = page(as_installer)
    assert f"/jobs/{job.pk}/" in text and "1.0 GiB of 4.0 GiB" in text
    assert 'data-live="2"' in text.split('id="standing"')[1].split(">")[0]
    assert "/install/" not in text
    Job.objects.update(state=State.DONE, finished_at=timezone.now() + timedelta(seconds=1))
    again = as_installer.get("/gallery/localai/qwen3/", headers=HTMX).content.decode()
    assert again.lstrip().startswith('<section id="standing"') and "data-live" not in again


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<script>alert(1)</script>hello", "alert"),
        ("<img src=x onerror=alert(1)>", "<img"),
        ("![pixel](https://example.org/p.png)", "<img"),
        ("[click](javascript:alert(1))", "href"),
        ('<a href="JaVaScRiPt:alert(1)">click</a>', "alert"),
        ("[click](data:text/html,x)", "href"),
        ("[click](/models/x/delete/)", "href"),
        ("[click](//example.org/)", "href"),
        ('<p style="position:fixed" onclick="x()" class="problem" id="content">x</p>', "="),
        ("<iframe src=https://example.org></iframe>", "iframe"),
        ("<form action=/x><button>y</button></form>", "<form"),
        ("<style>*{display:none}</style>", "display"),
    ],
)
def test_a_description_can_do_nothing_but_be_read(text, never):
    assert never not in markdown.to_html(text)


def test_links_of_a_description_lead_out_and_give_nothing_back():
    assert markdown.to_html("[a](https://example.org/)") == (
        '<p><a href="https://example.org/" rel="noopener noreferrer nofollow">a</a></p>\n'
    )


def test_headings_of_a_description_stand_below_those_of_the_page():
    assert markdown.to_html("# One\n###### Six") == "<h3>One</h3>\n<h6>Six</h6>\n"


def test_a_description_without_end_is_cut():
    assert len(markdown.to_html("word " * 1_000_000)) < 2 * markdown.MAX_CHARACTERS
