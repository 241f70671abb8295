"""What the Models page knows: every model with its files, their sizes, and its instance on this node."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory

from models import inventory
from models.listing import LooseFilePolicy, usecase_filter
from models.models import Instance, InstanceEvent
from models.states import State

pytestmark = pytest.mark.django_db


def put(folder: Path, name: str, text: str = "") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text or "x" * 10)


@pytest.fixture
def seer(models_path: Path) -> Path:
    put(
        models_path,
        "seer.yaml",
        "name: seer\nbackend: llama-cpp\ncontext_size: 4096\ntemplate: {chat: chatml}\n"
        "parameters: {model: big/seer.gguf}\nmmproj: eyes.gguf\ndraft_model: lost.gguf\n",
    )
    for name in ("big/seer.gguf", "eyes.gguf", "free.gguf", "notes.txt"):
        put(models_path, name)
    return models_path


def test_configured_models_come_first_then_loose_files(seer: Path) -> None:
    put(seer, "another.yaml", "name: zeta\n")
    rows = inventory.inventory()
    assert [(row.name, row.configured, row.is_loose) for row in rows] == [
        ("seer", True, False),
        ("zeta", True, False),
        ("free.gguf", False, True),
    ]


def test_a_model_is_told_with_its_figures(seer: Path) -> None:
    row = inventory.inventory()[0]
    assert row.backend == "llama-cpp"
    assert row.usecases == ["chat", "tokenize", "vision"]
    assert row.context_size == 4096
    assert row.config_path == seer / "seer.yaml"
    assert row.size == 20
    assert list(row.files) == [("big/seer.gguf", 10), ("eyes.gguf", 10), ("lost.gguf", None)]
    assert row.missing == ["lost.gguf"]
    assert row.modified == datetime.fromtimestamp((seer / "seer.yaml").stat().st_mtime, UTC)
    assert row.instance is None


def test_a_loose_file_is_told_with_its_size(seer: Path) -> None:
    row = inventory.inventory()[-1]
    assert (row.name, row.size, row.backend, row.usecases, row.context_size) == ("free.gguf", 10, "", [], None)


def test_a_model_without_files_has_no_size_rather_than_none_of_it(models_path: Path) -> None:
    put(models_path, "far.yaml", "name: far\nparameters: {model: org/repository}\n")
    row = inventory.inventory()[0]
    assert row.size is None
    assert row.missing == []


def test_a_model_that_is_a_folder_has_the_size_of_all_below_it(models_path: Path) -> None:
    put(models_path, "a.yaml", "name: a\nparameters: {model: snapshot}\n")
    put(models_path, "snapshot/one.bin")
    put(models_path, "snapshot/deep/two.bin")
    assert inventory.inventory()[0].size == 20


def test_an_instance_on_this_node_comes_with_its_model(seer: Path) -> None:
    here = Instance.objects.create(name="seer", node="local", state=State.READY)
    Instance.objects.create(name="free.gguf", node="elsewhere", state=State.READY)
    rows = {row.name: row.instance for row in inventory.inventory()}
    assert rows == {"seer": here, "free.gguf": None}


def test_a_hundred_models_cost_one_query(models_path: Path, django_assert_num_queries) -> None:
    for number in range(100):
        put(models_path, f"m{number}.yaml", f"name: m{number}\n")
        Instance.objects.create(name=f"m{number}", node="local")
    with django_assert_num_queries(1):
        rows = inventory.inventory()
    assert all(row.instance for row in rows)


@pytest.mark.parametrize("name", ["seer", "free.gguf"])
def test_one_model_is_told_as_among_all(seer: Path, name: str) -> None:
    Instance.objects.create(name=name, node="local")
    assert inventory.model_row(name) == next(row for row in inventory.inventory() if row.name == name)


@pytest.mark.parametrize("name", ["none", "eyes.gguf", "notes.txt", "../seer.yaml", "big/seer.gguf", ""])
def test_what_is_no_model_is_none(seer: Path, name: str) -> None:
    assert inventory.model_row(name) is None


def test_a_broken_configuration_is_a_problem_beside_the_models(seer: Path) -> None:
    put(seer, "bad.yaml", "{broken")
    assert [row.name for row in inventory.inventory()] == ["seer", "free.gguf"]
    assert [problem.path.name for problem in inventory.problems()] == ["bad.yaml"]


def test_an_index_of_a_gallery_in_the_folder_is_neither_model_nor_problem(models_path: Path, settings) -> None:
    put(models_path, "index.yaml", "- name: from-the-gallery\n  url: https://example.org/x.yaml\n")
    settings.GALLERIES = [{"name": "own", "url": f"file://{models_path}/index.yaml"}]
    assert inventory.inventory() == []
    assert inventory.problems() == []


def test_a_models_folder_that_is_not_there_is_empty(models_path: Path) -> None:
    models_path.rmdir()
    assert inventory.inventory() == []
    assert inventory.model_row("x") is None


def test_names_are_listed_by_filter_and_policy(seer: Path) -> None:
    assert inventory.names() == ["seer", "free.gguf"]
    assert inventory.names(usecase_filter("chat")) == ["seer"]
    assert inventory.names(None, LooseFilePolicy.ALWAYS_INCLUDE) == ["seer", "eyes.gguf", "free.gguf"]


def test_a_preview_names_what_goes_and_what_stays(seer: Path) -> None:
    put(seer, "friend.yaml", "name: friend\nmmproj: eyes.gguf\n")
    preview = inventory.deletion_preview("seer")
    assert [name for name, _ in preview.files] == ["seer.yaml", "big/seer.gguf"]
    assert preview.shared == [("eyes.gguf", ["friend"])]


def test_the_admin_shows_instances_with_their_events_and_changes_none(administrator: User) -> None:
    instance = Instance.objects.create(name="seer", node="local")
    InstanceEvent.objects.create(instance=instance, by="ann", from_state="stopped", to_state="stopped", why="a wish")
    shown = admin.site.get_model_admin(Instance)
    request = RequestFactory().get("/")
    request.user = administrator
    page = shown.change_view(request, str(instance.pk))
    assert page.status_code == 200
    assert page.context_data["title"] == "View instance"
    (inline,) = page.context_data["inline_admin_formsets"]
    assert [form.instance.why for form in inline.formset.forms] == ["a wish"]
    assert not (inline.has_add_permission or inline.has_change_permission or inline.has_delete_permission)
    with pytest.raises(PermissionDenied):
        shown.add_view(request)
    with pytest.raises(PermissionDenied):
        shown.delete_view(request, str(instance.pk))
