"""Names, numbers, query strings and methods that nobody should send: none breaks a page or leaves its folder."""

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from gallery.models import Gallery, Job
from gallery.states import Kind
from models.models import Instance
from tests.fakes.attacks import (
    BAD_NAMES,
    HOSTILE,
    HOSTILE_VALUES,
    assert_harmless,
    hostile_entry,
    hostile_gallery,
    quoted,
)
from tests.web.test_access import ALL, name_of, sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def hostile() -> Gallery:
    return hostile_gallery()


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    "view",
    [
        "models:detail",
        "models:load",
        "models:stop",
        "gallery:delete",
        "monitor:detail",
        "monitor:prompt",
        "monitor:log",
        "monitor:status",
        "gallery:update",
        "gallery:revisions",
    ],
)
def test_no_name_in_a_url_reaches_a_file_outside(
    as_administrator: Client, models_path: Path, name: str, view: str
) -> None:
    outside = models_path.parent / "x"
    outside.write_text("mine")
    (models_path.parent / "x.yaml").write_text("name: x\n")
    url = reverse(view, args=["NAME"]).replace("NAME", quoted(name))
    for answer in (as_administrator.get(url), as_administrator.post(url, {"prompt": "x"})):
        assert answer.status_code in {302, 303, 404, 405}
        assert b"mine" not in answer.content
    assert outside.read_text() == "mine"
    assert not Job.objects.exists()
    assert not Instance.objects.exists()


@pytest.mark.parametrize("name", BAD_NAMES[:-1])
def test_no_name_in_the_install_form_reaches_a_file_outside(
    as_installer: Client, models_path: Path, hostile: Gallery, name: str
) -> None:
    entry = hostile_entry(hostile)
    url = reverse("gallery:install", args=["x", entry.name])
    answer = as_installer.post(url, {"name": name})
    if name == "%2e%2e%2fx":
        # A name like any other: nothing decodes it once more.
        assert answer.status_code == 303
        return
    assert answer.status_code == 422, name
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "name",
    [
        "new\nline.gguf",
        "new\nline.yaml",
        "caf\udce9.gguf",
        "caf\udce9.yaml",
        "a\u2028b.gguf",
        "\u202egpj.gguf",
        "-rf",
        "a b",
        "a?b#c%d.gguf",
    ],
)
def test_no_name_of_a_file_in_the_folder_breaks_a_page(as_administrator: Client, models_path: Path, name: str) -> None:
    (models_path / name).write_bytes(b"backend: x\n")
    (models_path / "good.yaml").write_text("name: good\n")
    for url in ("/models/", "/", "/gallery/", "/monitor/"):
        assert as_administrator.get(url).status_code == 200
    assert "good" in as_administrator.get("/models/").content.decode()


# --- Numbers, query strings, methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_no_value_in_a_query_breaks_a_page(as_administrator: Client, models_path: Path, value: str) -> None:
    gallery = Gallery.objects.create(name="x", url="https://x.example/", enabled=True)
    entry = hostile_entry(gallery)
    (models_path / "m.yaml").write_text("name: m\n")
    job = Job.objects.create(kind=Kind.INSTALL, subject="m", request={})
    pages = [
        "/",
        "/models/",
        "/gallery/",
        entry.get_absolute_url(),
        "/jobs/",
        "/jobs/?tab=record",
        job.get_absolute_url(),
        "/monitor/",
        "/monitor/m/",
        "/monitor/m/log/",
        "/models/m/",
        "/gallery/delete/m/",
        "/gallery/galleries/",
        "/gallery/updates/",
        "/gallery/revisions/m/",
        "/import/",
        "/import/path/",
        "/import/text/",
        "/import/list/",
        "/disk/",
        "/jobs/limits/",
        "/plans/6f1f9b6e-6f0a-4b0e-9d0b-0d9a3c1a7c11/",
    ]
    names = (
        "page",
        "since",
        "v",
        "tab",
        "sort",
        "q",
        "tag",
        "state",
        "kind",
        "by",
        "run",
        "installed",
        "gallery",
        "address",
        "path",
        "seen",
        "files",
        "backend",
        "license",
        "usecase",
    )
    for page in pages:
        for headers in ({}, {"HX-Request": "true"}):
            answer = as_administrator.get(page.split("?")[0], dict.fromkeys(names, value), headers=headers)
            fine = {404} if page.startswith("/plans/") else {200, 204, 302}
            assert answer.status_code in fine, f"{page} {headers} {answer.status_code}"
            assert_harmless(answer)


def test_no_number_of_parameters_breaks_a_page(as_administrator: Client) -> None:
    for page in ("/", "/models/", "/gallery/", "/jobs/"):
        assert as_administrator.get(page + "?" + "&".join(f"tag=t{n}" for n in range(900))).status_code == 200
        answer = as_administrator.get(page + "?" + "&".join(f"tag=t{n}" for n in range(5000)))
        assert answer.status_code in {200, 400}


@pytest.mark.parametrize("number", ["0", "9" * 18, "9" * 19, "9" * 40, "9" * 4000])
def test_no_number_in_a_url_breaks_a_page(as_administrator: Client, models_path: Path, number: str) -> None:
    (models_path / "m.yaml").write_text("name: m\n")
    for url in (
        f"/gallery/galleries/{number}/",
        f"/gallery/galleries/{number}/refresh/",
        f"/gallery/galleries/{number}/remove/",
        f"/gallery/revisions/m/{number}/back/",
        f"/gallery/revisions/m/{number}/forget/",
        f"/disk/revisions/{number}/forget/",
    ):
        for answer in (as_administrator.get(url), as_administrator.post(url)):
            assert answer.status_code in {303, 404, 405}, url
    assert not Job.objects.exists()


FORMS = {
    "/import/": ("address", "name"),
    "/import/text/": ("text", "name"),
    "/import/path/": ("path", "name", "usecase", "context_size"),
    "/import/list/": ("text",),
    "/import/repository/?repo=": ("choice", "companion", "name", "usecase", "context_size"),
    "/gallery/galleries/add/": ("name", "url", "mirrors", "schedule", "minutes", "headers", "removed"),
    "/jobs/limits/": ("at_once", "connections", "bandwidth", "quiet_from", "quiet_to", "quiet_bandwidth"),
}


@pytest.mark.parametrize("value", [*HOSTILE_VALUES, HOSTILE, "{{x}}", "\u202egpj", "*a", "&a [*a]", "- " * 5000])
@pytest.mark.parametrize("page", FORMS)
def test_nothing_that_is_typed_breaks_a_form(
    as_administrator: Client, models_path: Path, page: str, value: str
) -> None:
    answer = as_administrator.post(page, dict.fromkeys(FORMS[page], value))
    assert answer.status_code in {200, 303, 422}
    assert_harmless(answer)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "BREW"])
def test_an_unusual_method_changes_nothing(as_administrator: Client, models_path: Path, method: str) -> None:
    (models_path / "x.yaml").write_text("name: x\n")
    for _, pattern in ALL:
        arguments = {name: sample(converter) for name, converter in pattern.pattern.converters.items()}
        name = "team:sign_out" if pattern.name == "sign_out" else name_of(pattern)
        answer = as_administrator.generic(method, reverse(name, kwargs=arguments))
        assert answer.status_code in {403, 404, 405, 410} or pattern.name == "sign_in"
    assert (models_path / "x.yaml").exists()
    assert not Job.objects.exists()
    assert not Instance.objects.exists()
