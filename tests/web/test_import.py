"""Importing a model that is in no gallery: every way ends in a plan, or says beside the field what was wrong."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from gallery.hub.errors import Unreachable
from gallery.models import Entry, Gallery, Plan
from gallery.services import hub as hub_service
from gallery.services import installs, outside, plans, recipes, running
from gallery.services.transport import downloader
from gallery.states import State
from models import inventory
from tests.fakes import hub_server, tiny_gguf

WAYS = ["/import/", "/import/text/", "/import/repository/", "/import/path/", "/import/list/"]
RECIPE = b"name: phi\nconfig_file: |\n  backend: llama-cpp\nfiles: [{filename: p.gguf, uri: 'https://x.test/p.gguf'}]\n"


@pytest.fixture(autouse=True)
def fresh(db, models_path: Path) -> Iterator[None]:
    hub_service.forget()
    yield
    hub_service.forget()


@pytest.fixture
def hub(settings) -> Iterator[hub_server.Hub]:
    with hub_server.running() as running:
        settings.HF_ENDPOINTS = (running.address,)
        yield running


def planned(answer: Any) -> dict[str, Any]:
    """The request of the plan that an answer leads to."""
    assert answer.status_code == 303, answer.content.decode()
    plan = Plan.objects.get()
    assert answer.url == plan.get_absolute_url()
    return plan.request


def refused(answer: Any, sentence: str, typed: str = "") -> None:
    text = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in text
    assert typed in text
    assert not Plan.objects.exists()


@pytest.mark.parametrize("way", WAYS)
def test_only_those_who_may_import_do(way: str, as_operator: Client, as_installer: Client):
    assert as_operator.get(way).status_code == 403
    assert as_operator.post(way, {}).status_code == 403
    answer = as_installer.get(way)
    assert answer.status_code == 200
    assert all(f'href="{other}"' in answer.content.decode() for other in WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_a_page_costs_few_queries(way: str, as_installer: Client, django_assert_max_num_queries):
    as_installer.get(way)
    with django_assert_max_num_queries(8):
        as_installer.get(way)


@pytest.mark.parametrize("way", ["/import/", "/import/text/", "/import/path/", "/import/list/"])
def test_an_empty_form_is_refused_beside_its_fields(way: str, as_installer: Client):
    answer = as_installer.post(way, {"name": ""})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()


# --- From an address ------------------------------------------------------------------------------------------------


def test_the_address_of_a_recipe_leads_to_a_plan(server, as_installer: Client):
    url = server.gives("/phi.yaml", RECIPE)
    request = planned(as_installer.post("/import/", {"address": url}))
    assert request == {"name": "phi", "described": {"name": "phi", "url": url}}


def test_the_address_of_a_plain_configuration_is_installed_with_its_files(server, as_installer: Client):
    url = server.gives("/mine.yaml", b"backend: llama-cpp\nparameters: {model: 'https://x.test/deep/m.gguf'}\n")
    request = planned(as_installer.post("/import/", {"address": url, "name": "mine"}))
    with downloader() as transport:
        recipe = recipes.resolve(request, transport)
    assert [(file.filename, file.uri) for file in recipe.files] == [("m.gguf", "https://x.test/deep/m.gguf")]
    assert recipe.config["parameters"] == {"model": "m.gguf"}
    assert recipe.config["name"] == "mine"


def test_a_recipe_without_a_name_is_called_after_its_address(server, as_installer: Client):
    url = server.gives("/Some+Model.yaml", b"config_file: 'backend: piper'")
    assert planned(as_installer.post("/import/", {"address": url}))["name"] == "some-model"


def test_a_file_below_the_allowed_folders_is_an_address(tmp_path: Path, settings, as_installer: Client):
    settings.FILE_ROOTS = [tmp_path]
    (tmp_path / "phi.yaml").write_bytes(RECIPE)
    address = f"file://{tmp_path}/phi.yaml"
    assert planned(as_installer.post("/import/", {"address": address}))["described"]["url"] == address


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"- name: a\n  url: u\n  tags: [x]\n", "Add its address under Galleries"),
        (b"- {id: a}\n", "one model is expected"),
        (b"\x00\x01\x02GGUF", "This is not a model"),
        (b"", "nothing"),
        (b"name: only", "says nothing that could be installed"),
        (b"a: [", "Line 2"),
        (b"x" * (3 << 20), "larger than 2,097,152 bytes"),
    ],
)
def test_what_an_address_gives_instead_is_named_and_the_address_is_kept(server, as_installer, body, sentence):
    url = server.gives("/x.yaml", body)
    refused(as_installer.post("/import/", {"address": url}), sentence, typed=url)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://10.0.0.1/x.yaml", "not an address of the public network"),
        ("file:///etc/passwd", "in none of the folders"),
        ("gopher://x/y", "of a kind that this console does not download from"),
        ("not an address", "of a kind that this console does not download from"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused(as_installer, address, sentence):
    refused(as_installer.post("/import/", {"address": address}), sentence, typed=address)


def test_an_address_that_is_not_there_is_refused(server, as_installer):
    refused(as_installer.post("/import/", {"address": server.url("/gone.yaml")}), "404")


def test_a_server_that_hangs_is_given_up(server):
    url = server.gives("/x.yaml", silent=True)
    with downloader(timeouts=outside.TIMEOUTS) as transport:
        started = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer within"):
            outside.ask(lambda: transport.fetch(url), "it", 0.2)
        assert time.monotonic() - started < 2
    server.close()
    _freed()


def test_more_questions_than_places_are_told_to_come_again():
    hold = threading.Event()
    waiting = [threading.Thread(target=outside.ask, args=(hold.wait, "it")) for _ in range(outside.PLACES)]
    for thread in waiting:
        thread.start()
    try:
        with pytest.raises(Unreachable, match="other questions are on their way") as busy:
            while True:
                outside.ask(lambda: None, "it")
        assert "Try again in a moment" in busy.value.action
    finally:
        hold.set()
        for thread in waiting:
            thread.join()
    _freed()


def _freed() -> None:
    for _ in range(100):
        try:
            outside.ask(lambda: None, "it")
        except Unreachable:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("a place was never given back")


# --- From a text ----------------------------------------------------------------------------------------------------


def test_a_pasted_configuration_leads_to_a_plan_under_the_name_that_was_typed(as_installer):
    request = planned(as_installer.post("/import/text/", {"text": "backend: llama-cpp", "name": "mine"}))
    assert request["name"] == request["described"]["name"] == "mine"


def test_a_pasted_recipe_brings_its_templates(as_installer):
    text = RECIPE.decode() + "prompt_templates: [{name: chat, content: hello}]\n"
    request = planned(as_installer.post("/import/text/", {"text": text}))
    with downloader() as transport:
        assert recipes.resolve(request, transport).templates == (("chat.tmpl", "hello"),)


def test_a_pasted_request_for_a_gallerys_entry_finds_it_as_localai_does(as_installer):
    gallery = Gallery.objects.create(name="localai", url="https://x.test/")
    Entry.objects.create(gallery=gallery, name="a__b", data={"name": "a__b", "files": []})
    text = json.dumps({"id": "LocalAI@A/B", "name": "mine", "overrides": {"context_size": 5}})
    request = planned(as_installer.post("/import/text/", {"text": text}))
    assert request == {"name": "mine", "entry": "localai@a__b", "overrides": {"context_size": 5}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: m\nname: n", "already set on line 1"),
        ("id: nowhere", "no entry"),
        ("<html>", "web page"),
        ("name: ../x\nurl: https://x.test/a", "is no name that a model"),
        ("backend: piper", "The model has no name"),
    ],
)
def test_a_text_that_is_no_good_is_kept_beside_the_reason(as_installer, text, sentence):
    answer = as_installer.post("/import/text/", {"text": text})
    refused(answer, sentence)
    assert text.splitlines()[0].replace("<", "&lt;").replace(">", "&gt;") in answer.content.decode()


def test_a_text_of_three_mebibytes_is_refused(as_installer):
    assert as_installer.post("/import/text/", {"text": "x" * (3 << 20)}).status_code == 413


def test_a_name_with_a_slash_is_refused_beside_the_name(as_installer):
    refused(as_installer.post("/import/text/", {"text": "backend: piper", "name": "a/b"}), "no slash in it", "a/b")


def test_the_name_of_somebodys_own_model_is_refused_beside_the_name(as_installer, models_path):
    (models_path / "own.yaml").write_text("name: own\nbackend: piper\n")
    refused(
        as_installer.post("/import/text/", {"text": "backend: piper", "name": "own"}), "did not come from a gallery"
    )


# --- From a repository ----------------------------------------------------------------------------------------------


def test_a_repository_is_listed_with_a_suggestion_and_its_choice_leads_to_a_plan(hub, as_installer):
    hub.has(
        "Org/Tiny-GGUF",
        {"t-Q4_K_M.gguf": b"four", "t-Q8_0.gguf": b"eight bits", "mmproj-F16.gguf": b"eyes", "README.md": b"#"},
        facts={"pipeline_tag": "text-generation", "tags": ["gguf"], "gguf": {"chat_template": "x"}},
    )
    text = as_installer.get("/import/repository/", {"repo": "Org/Tiny-GGUF"}).content.decode()
    assert 'value="t-Q8_0.gguf" required checked' in text
    assert "suggested" in text
    form = {"choice": "t-Q4_K_M.gguf", "companion": "mmproj-F16.gguf", "usecase": "chat", "context_size": "2048"}
    request = planned(as_installer.post("/import/repository/?repo=Org/Tiny-GGUF", form))
    described = request["described"]
    assert request["name"] == "tiny-q4_k_m"
    assert described["config_file"] == {
        "name": "tiny-q4_k_m",
        "backend": "llama-cpp",
        "parameters": {"model": "huggingface/Org/Tiny-GGUF/t-Q4_K_M.gguf"},
        "mmproj": "huggingface/Org/Tiny-GGUF/mmproj-F16.gguf",
        "known_usecases": ["chat", "vision"],
        "context_size": 2048,
        "template": {"use_tokenizer_template": True},
    }
    with downloader() as transport:
        files = recipes.resolve(request, transport).files
        assert [file.size for file in files] == [4, 4]
        assert all(len(file.sha256) == 64 for file in files)
        assert hub_server.Repo().commit in files[0].uri
        assert transport.fetch(files[0].uri).body == b"four"


def test_all_parts_of_a_split_file_are_installed_and_an_incomplete_one_is_not(hub, as_installer):
    parts = {f"m-Q8_0-0000{n}-of-00002.gguf": b"x" for n in (1, 2)}
    hub.has("o/r", parts)
    request = planned(
        as_installer.post("/import/repository/?repo=o/r", {"choice": next(iter(parts)), "usecase": "chat"})
    )
    assert len(request["described"]["files"]) == 2
    Plan.objects.all().delete()
    hub.has("o/half", dict(list(parts.items())[:1]))
    answer = as_installer.post("/import/repository/?repo=o/half", {"choice": next(iter(parts))})
    refused(answer, "of the parts of Q8_0 are missing")


def test_a_set_of_safetensors_is_one_model_and_says_that_its_backend_is_not_here(hub, as_installer, settings):
    settings.SYSTEM_BACKENDS = []
    hub.has("o/r", {"model.safetensors": b"w", "config.json": b"{}", "sub/x.txt": b""})
    text = as_installer.get("/import/repository/?repo=o/r").content.decode()
    assert "transformers is not on this host" in text
    request = planned(as_installer.post("/import/repository/?repo=o/r", {"choice": "/", "usecase": "completion"}))
    assert request["described"]["config_file"]["parameters"] == {"model": "huggingface/o/r"}
    assert len(request["described"]["files"]) == 2


def test_a_link_to_a_file_chooses_it(hub, as_installer):
    hub.has("o/r", {"m-Q4_0.gguf": b"x", "m-Q8_0.gguf": b"xx"})
    link = "https://huggingface.co/o/r/blob/main/m-Q4_0.gguf"
    text = as_installer.get("/import/repository/", {"repo": link}).content.decode()
    assert 'value="m-Q4_0.gguf" required checked' in text


def test_a_gated_repository_says_what_to_do(hub, as_installer, settings):
    hub.has("o/r", {"m.gguf": b"x"}, token="secret")
    assert "Its files need a token" in as_installer.get("/import/repository/?repo=o/r").content.decode()
    settings.HF_TOKEN = "secret"
    text = as_installer.get("/import/repository/?repo=o/r").content.decode()
    assert "Accept its terms on" in text
    assert "secret" not in text


def test_what_cannot_be_listed_keeps_what_was_typed(hub, as_installer):
    refused(as_installer.get("/import/repository/?repo=o/gone"), "There is no repository o/gone", 'value="o/gone"')
    refused(as_installer.get("/import/repository/?repo=nonsense"), "Write owner/repo", 'value="nonsense"')
    hub.has("o/r", {"m.gguf": b"x"}, is_html=True)
    refused(as_installer.get("/import/repository/?repo=o/r"), "answered with a page instead")


def test_an_empty_repository_and_one_without_weights_say_so(hub, as_installer):
    hub.has("o/empty")
    hub.has("o/texts", {"README.md": b"#"})
    assert "The repository is empty" in as_installer.get("/import/repository/?repo=o/empty").content.decode()
    assert "There are no weights in it" in as_installer.get("/import/repository/?repo=o/texts").content.decode()


def test_a_choice_that_the_repository_does_not_have_is_refused(hub, as_installer):
    hub.has("o/r", {"m.gguf": b"x"})
    refused(as_installer.post("/import/repository/?repo=o/r", {"choice": "../../etc/passwd"}), "has no such files")
    refused(as_installer.post("/import/repository/?repo=o/r", {}), "Choose what to install")
    form = {"choice": "m.gguf", "companion": "nothing.gguf", "name": "kept-name"}
    refused(as_installer.post("/import/repository/?repo=o/r", form), "no such mmproj file", "kept-name")


def test_a_repository_of_five_thousand_files_shows_so_many_rows_and_finds_the_others(hub, as_installer):
    hub.has("o/r", sizes={f"d/m{n:04}-Q4_0.gguf": 1000 + n for n in range(5000)})
    text = as_installer.get("/import/repository/?repo=o/r").content.decode()
    assert text.count('name="choice"') == 500
    assert "search for the others" in text
    found = as_installer.get("/import/repository/?repo=o/r&q=m4321").content.decode()
    assert found.count('name="choice"') == 1
    assert len(hub.asked("/tree/")) == 6
    assert "Nothing matches" in as_installer.get("/import/repository/?repo=o/r&q=zzz").content.decode()


def test_hostile_names_are_shown_as_text_and_go_nowhere(hub, as_installer):
    name = '<script>alert(1)</script>" onload="x.gguf'
    hub.has("o/r", {name: b"x"}, sizes={"../../x.gguf": 1})
    text = as_installer.get("/import/repository/?repo=o/r").content.decode()
    assert "<script>alert" not in text
    assert "left out" in text
    request = planned(as_installer.post("/import/repository/?repo=o/r", {"choice": name, "usecase": "chat"}))
    with downloader() as transport:
        assert transport.fetch(recipes.resolve(request, transport).files[0].uri).body == b"x"


# --- From a path ----------------------------------------------------------------------------------------------------


def test_weights_in_the_models_folder_get_a_configuration_and_stay_where_they_are(as_installer, models_path):
    path = tiny_gguf.write(models_path / "tiny.gguf")
    text = as_installer.get("/import/path/").content.decode()
    assert "Give it a configuration" in text
    form = {"path": str(path), "usecase": "chat", "context_size": "512"}
    request = planned(as_installer.post("/import/path/", form))
    assert request["described"] == {
        "name": "tiny",
        "config_file": {
            "name": "tiny",
            "backend": "llama-cpp",
            "parameters": {"model": "tiny.gguf"},
            "known_usecases": ["chat"],
            "context_size": 512,
            "template": {"use_tokenizer_template": True},
        },
    }


def test_weights_that_a_configuration_names_are_not_offered(as_installer, models_path):
    tiny_gguf.write(models_path / "tiny.gguf")
    (models_path / "t.yaml").write_text("name: t\nparameters: {model: tiny.gguf}\n")
    assert "Give it a configuration" not in as_installer.get("/import/path/").content.decode()


def test_weights_elsewhere_are_copied_with_all_of_their_parts(as_installer, tmp_path, settings):
    settings.FILE_ROOTS = [tmp_path / "in"]
    (tmp_path / "in").mkdir()
    names = ["m x-00001-of-00002.gguf", "m x-00002-of-00002.gguf"]
    for name in names:
        tiny_gguf.write(tmp_path / "in" / name)
    form = {"path": str(tmp_path / "in" / names[1]), "name": "m", "usecase": "chat"}
    request = planned(as_installer.post("/import/path/", form))
    with downloader() as transport:
        recipe = recipes.resolve(request, transport)
        assert [file.filename for file in recipe.files] == names
        assert transport.fetch(recipe.files[0].uri).body.startswith(b"GGUF")
    assert recipe.config["parameters"] == {"model": names[0]}


def test_a_configuration_on_the_server_is_read(as_installer, tmp_path, settings):
    settings.FILE_ROOTS = [tmp_path]
    (tmp_path / "phi.yaml").write_bytes(RECIPE)
    assert planned(as_installer.post("/import/path/", {"path": str(tmp_path / "phi.yaml")}))["name"] == "phi"


def test_the_consoles_own_files_are_not_read_whatever_folder_is_allowed(as_installer, settings):
    settings.FILE_ROOTS = [settings.DATA.parent, Path("/")]
    own = settings.DATA / "kept.yaml"
    own.write_bytes(RECIPE)
    refused(as_installer.post("/import/path/", {"path": str(own)}), "in none of the folders", typed=str(own))
    answer = as_installer.post("/import/", {"address": f"file://{own}"})
    refused(answer, "in none of the folders", typed=str(own))


def test_a_path_that_is_no_good_says_why(as_installer, tmp_path, settings):
    root = tmp_path / "in"
    root.mkdir()
    settings.FILE_ROOTS = [root]
    (root / "folder").mkdir()
    (root / "bad.gguf").write_bytes(b"<html>")
    (root / "notes.doc").write_bytes(b"x")
    (root / "link.gguf").symlink_to("/etc/passwd")
    (root / "half-00001-of-00002.gguf").write_bytes(tiny_gguf.write(tmp_path / "t.gguf").read_bytes())
    for path, sentence in (
        ("relative.gguf", "no path of this server"),
        ("/etc/passwd", "in none of the folders"),
        ("/etc/does-not-exist", "in none of the folders"),
        (f"{root}/../secret", "in none of the folders"),
        (f"{root}/link.gguf", "in none of the folders"),
        (f"{root}/gone.gguf", "There is no file"),
        (f"{root}/folder", "is a folder, and one file is needed"),
        (f"{root}/bad.gguf", "is no GGUF file"),
        (f"{root}/notes.doc", "neither a configuration nor weights"),
        (f"{root}/half-00001-of-00002.gguf", "half-00002-of-00002.gguf is missing"),
    ):
        refused(as_installer.post("/import/path/", {"path": path, "usecase": "chat"}), sentence, typed=path)


@pytest.mark.django_db(transaction=True)
def test_what_was_chosen_in_a_repository_is_installed_as_the_plan_says(hub, as_installer, models_path):
    hub.has("Org/Two", {"t-Q8_0.gguf": b"eight bits", "mmproj-F16.gguf": b"eyes"})
    form = {"choice": "t-Q8_0.gguf", "companion": "mmproj-F16.gguf", "usecase": "chat"}
    request = planned(as_installer.post("/import/repository/?repo=Org/Two", form))
    plans.make_plan(Plan.objects.get().pk)
    plan = Plan.objects.get()
    assert plan.state == Plan.READY, plan.error
    job = plans.confirm(plan, by=None)
    running.run(job.pk, installs.run_install, threading.Event())
    job.refresh_from_db()
    assert job.state == State.DONE, job.error
    folder = models_path / "huggingface/Org/Two"
    assert (folder / "t-Q8_0.gguf").read_bytes() == b"eight bits"
    assert (folder / "mmproj-F16.gguf").read_bytes() == b"eyes"
    assert inventory.config_folder().get(request["name"]).mmproj == "huggingface/Org/Two/mmproj-F16.gguf"
