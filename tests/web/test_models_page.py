from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models.models import Instance, InstanceEvent
from models.states import Desired, State

HTMX = {"HX-Request": "true"}


@pytest.fixture
def models(db, models_path: Path) -> Path:
    """Two models that share a file, one more, and a loose file."""
    write(
        models_path,
        "llava",
        "backend: llama-cpp\nparameters: {model: llava.gguf}\nmmproj: eye.gguf\ncontext_size: 4096",
    )
    write(models_path, "bakllava", "backend: llama-cpp\nparameters: {model: bakllava.gguf}\nmmproj: eye.gguf")
    write(models_path, "whisper", "backend: whisper\nparameters: {model: whisper.bin}\nknown_usecases: [transcript]")
    for name, size in [
        ("llava.gguf", 3 << 20),
        ("bakllava.gguf", 2 << 20),
        ("eye.gguf", 1 << 20),
        ("whisper.bin", 100),
    ]:
        (models_path / name).write_bytes(b"\0" * size)
    (models_path / "stray.gguf").write_bytes(b"\0" * 2048)
    return models_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(f"name: {name}\n{text}\n")


def page(client: Client, name: str = "", status: int = 200, **query: str) -> str:
    url = reverse("models:detail", args=[name]) if name else reverse("models:index")
    response = client.get(url, query)
    assert response.status_code == status
    return response.content.decode()


def test_each_model_is_a_row_with_its_size_backend_and_use(models, as_viewer):
    text = page(as_viewer)
    assert text.index(">bakllava<") < text.index(">whisper<")
    for words in ("4.0 MiB", "llama-cpp", "transcript", "4096", "vision"):
        assert words in text


def test_loose_files_are_apart_from_models(models, as_viewer):
    text = page(as_viewer)
    assert text.index("Loose files") < text.index("stray.gguf")
    assert "2.0 KiB" in text


def test_a_folder_without_models_leads_to_the_gallery(db, models_path, as_viewer):
    text = page(as_viewer)
    assert "No model is here yet" in text
    assert reverse("gallery:index") in text


def test_a_broken_configuration_is_shown_with_its_sentence(models, as_viewer):
    (models / "broken.yaml").write_text("name: [")
    text = page(as_viewer)
    assert "broken.yaml is not readable YAML" in text
    assert "llava" in text


@pytest.mark.parametrize(
    ("query", "here", "gone"),
    [
        ({"q": "LLAVA bak"}, ["bakllava"], ["whisper"]),  # every word, in any case
        ({"backend": "whisper"}, ["whisper"], ["llava"]),
        ({"usecase": "transcript"}, ["whisper"], ["llava"]),
        ({"state": "ready"}, ["whisper"], ["llava"]),
        ({"q": "nothing-like-it"}, [], ["llava", "whisper"]),
    ],
)
def test_filters_narrow_the_list(models, as_viewer, query, here, gone):
    Instance.objects.create(name="whisper", state=State.READY, desired=Desired.RUNNING)
    response = as_viewer.get(reverse("models:index"), query)
    shown = [row.name for row in response.context["page"].object_list]
    assert set(here) <= set(shown)
    assert not set(gone) & set(shown)


def test_filters_are_kept_in_the_form_and_in_the_poll(models, as_viewer):
    text = page(as_viewer, q="llava", sort="largest")
    assert 'value="llava"' in text
    assert "?q=llava&amp;sort=largest&amp;since=" in text


@pytest.mark.parametrize(
    ("sort", "first"),
    [("", "bakllava"), ("largest", "llava"), ("smallest", "whisper"), ("state", "llava"), ("used", "whisper")],
)
def test_the_list_is_sorted_as_asked(models, as_viewer, sort, first):
    Instance.objects.create(name="whisper", last_used_at=timezone.now())
    Instance.objects.create(name="llava", state=State.FAILED)
    response = as_viewer.get(reverse("models:index"), {"sort": sort})
    assert response.context["page"].object_list[0].name == first


def test_words_in_the_url_that_make_no_sense_are_passed_over(models, as_viewer):
    assert "llava" in page(as_viewer, sort="\N{SNOWMAN}", page="minus one")
    assert "llava" in page(as_viewer, page="99999")


def test_fifty_models_make_a_page(db, models_path, as_viewer):
    for number in range(60):
        write(models_path, f"model-{number:02}", "backend: fake")
    first = as_viewer.get(reverse("models:index")).context
    second = as_viewer.get(reverse("models:index"), {"page": "2"}).context
    assert [len(first["page"].object_list), len(second["page"].object_list)] == [50, 10]
    assert first["page"].object_list[0].name == "model-00"


def test_the_list_takes_as_many_queries_for_many_models_as_for_few(
    db, models_path, as_viewer, django_assert_max_num_queries
):
    for number in range(60):
        write(models_path, f"model-{number:02}", "backend: fake")
        Instance.objects.create(name=f"model-{number:02}", state=State.READY, desired=Desired.RUNNING)
    with django_assert_max_num_queries(9):
        page(as_viewer)


def test_a_state_comes_with_its_reason_and_age(models, as_viewer):
    now = timezone.now()
    Instance.objects.create(
        name="llava",
        state=State.BACKOFF,
        desired=Desired.RUNNING,
        reason="exit code 137, memory",
        state_since=now - timedelta(seconds=70),
        next_try_at=now + timedelta(seconds=12),
    )
    for text in (page(as_viewer), page(as_viewer, "llava")):
        assert "Backing off" in text
        assert "Exit code 137, memory" in text
        assert "next try in 1" in text
        assert ">1 min</time>" in text


def test_a_poll_of_an_unchanged_list_is_one_query_and_no_content(models, as_viewer, django_assert_num_queries):
    mark = as_viewer.get(reverse("models:index")).context["mark"]
    with django_assert_num_queries(5):  # session, user, two for permissions, and the one
        response = as_viewer.get(reverse("models:index"), {"since": mark}, headers=HTMX)
    assert response.status_code == 204


def test_a_poll_after_a_change_brings_the_list_alone(models, as_viewer):
    mark = as_viewer.get(reverse("models:index")).context["mark"]
    Instance.objects.create(name="llava", state=State.STARTING, desired=Desired.RUNNING)
    response = as_viewer.get(reverse("models:index"), {"since": mark}, headers=HTMX)
    assert response.status_code == 200
    assert b"<html" not in response.content
    assert b"Starting" in response.content
    assert b'data-live="2"' in response.content


def test_load_records_the_wish_and_goes_back(models, as_operator):
    response = as_operator.post(reverse("models:load", args=["llava"]))
    instance = Instance.objects.get(name="llava")
    assert response.status_code == 303
    assert response["Location"] == reverse("models:detail", args=["llava"])
    assert (instance.desired, instance.desired_by) == (Desired.RUNNING, "operator-person")
    assert "Shut down" in page(as_operator, "llava")


def test_shut_down_records_the_wish(models, as_operator):
    Instance.objects.create(name="llava", state=State.READY, desired=Desired.RUNNING)
    response = as_operator.post(reverse("models:stop", args=["llava"]))
    assert response.status_code == 303
    assert Instance.objects.get(name="llava").desired == Desired.STOPPED


@pytest.mark.parametrize("act", ["load", "stop"])
def test_an_act_on_a_model_that_is_not_here_is_a_sentence(models, as_operator, act):
    response = as_operator.post(reverse(f"models:{act}", args=["nobody"]), follow=True)
    assert "There is no model named nobody here" in response.content.decode()


@pytest.mark.parametrize("act", ["load", "stop"])
def test_a_viewer_neither_loads_nor_shuts_down(models, as_viewer, act):
    assert as_viewer.post(reverse(f"models:{act}", args=["llava"])).status_code == 403
    assert "Load llava" not in page(as_viewer)


@pytest.mark.parametrize("act", ["load", "stop"])
def test_acts_are_posts(models, as_operator, act):
    assert as_operator.get(reverse(f"models:{act}", args=["llava"])).status_code == 405


def test_a_model_shows_its_files_and_who_shares_them(models, as_viewer):
    text = page(as_viewer, "llava")
    assert "eye.gguf" in text
    assert 'data-label="Also used by">bakllava' in text
    assert "mmproj: eye.gguf" in text


def test_a_missing_file_is_named(models, as_viewer):
    (models / "llava.gguf").unlink()
    assert "1 file missing" in page(as_viewer)
    assert "is not in the models folder: llava.gguf" in page(as_viewer, "llava")


def test_secrets_in_a_configuration_are_not_shown(models, as_viewer):
    write(
        models,
        "remote",
        "backend: proxy\nproxy: {api_key: s3cr3t-word, headers: [{hf_token: s3cr3t-word}]}\nmax_tokens: 77",
    )
    text = page(as_viewer, "remote")
    assert "s3cr3t-word" not in text
    assert "api_key: (not shown)" in text
    assert "max_tokens: 77" in text


def test_a_model_shows_what_happened_to_it(models, as_viewer):
    instance = Instance.objects.create(name="llava", state=State.READY, desired=Desired.RUNNING, pid=4242)
    InstanceEvent.objects.create(
        instance=instance, by="agent", from_state="loading", to_state="ready", why="answers Health"
    )
    text = page(as_viewer, "llava")
    assert "answers Health" in text
    assert "4242" in text


def test_an_instance_whose_configuration_is_gone_can_still_be_shut_down(models, as_operator):
    Instance.objects.create(name="orphan", state=State.READY, desired=Desired.RUNNING)
    text = page(as_operator, "orphan")
    assert "Its configuration is gone" in text
    assert "Shut down" in text


def test_a_loose_file_has_a_page_without_load(models, as_operator):
    text = page(as_operator, "stray.gguf")
    assert "Loose file" in text
    assert "Load stray.gguf" not in text


def test_another_name_leads_to_the_model_it_stands_for(models, as_operator):
    write(models, "gpt-4", "alias: llava")
    assert reverse("models:detail", args=["llava"]) in page(as_operator, "gpt-4")


def test_a_name_with_a_slash_and_blanks_has_a_page(models, as_viewer):
    (models / "odd.yaml").write_text('name: "org/My model"\nbackend: fake\n')
    assert "org/My model" in page(as_viewer, "org/My model")


def test_nothing_of_that_name_is_not_found(models, as_viewer):
    page(as_viewer, "nobody", status=404)


def test_the_page_before_a_deletion_says_what_goes_and_what_stays(models, as_installer):
    text = as_installer.get(reverse("gallery:delete", args=["llava"])).content.decode()
    goes, stays = text.split("1 file stays")
    assert "llava.gguf" in goes
    assert "eye.gguf" not in goes
    assert "eye.gguf" in stays
    assert "bakllava" in stays
    assert "2 files go, 3.0 MiB become free" in goes


def test_delete_makes_a_job_and_goes_to_it(models, as_installer):
    response = as_installer.post(reverse("gallery:delete", args=["llava"]))
    assert response.status_code == 303
    assert response["Location"].startswith("/jobs/")


def test_only_who_may_delete_sees_the_page_before_a_deletion(models, as_operator):
    assert as_operator.get(reverse("gallery:delete", args=["llava"])).status_code == 403
    assert as_operator.post(reverse("gallery:delete", args=["llava"])).status_code == 403


def test_nothing_cannot_be_deleted(models, as_installer):
    assert as_installer.get(reverse("gallery:delete", args=["nobody"])).status_code == 404
