"""Names, numbers, query strings and methods that nobody should send: none breaks a page or leaves its folder."""

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from gallery.models import Gallery, Job
from gallery.states import Kind
from models.models import Instance
from tests.fakes.attacks import BAD_NAMES, HOSTILE_VALUES, assert_harmless, hostile_entry, hostile_gallery, quoted
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
    ]
    names = ("page", "since", "v", "tab", "sort", "q", "tag", "state", "kind", "by", "run", "installed", "gallery")
    for page in pages:
        for headers in ({}, {"HX-Request": "true"}):
            answer = as_administrator.get(page.split("?")[0], dict.fromkeys(names, value), headers=headers)
            assert answer.status_code in {200, 204, 302}, f"{page} {headers} {answer.status_code}"
            assert_harmless(answer)


def test_no_number_of_parameters_breaks_a_page(as_administrator: Client) -> None:
    for page in ("/", "/models/", "/gallery/", "/jobs/"):
        assert as_administrator.get(page + "?" + "&".join(f"tag=t{n}" for n in range(900))).status_code == 200
        answer = as_administrator.get(page + "?" + "&".join(f"tag=t{n}" for n in range(5000)))
        assert answer.status_code in {200, 400}


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
