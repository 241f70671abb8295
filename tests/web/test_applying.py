"""Lists of models, applied from a text, a file, the page, the command line and at the start: each item is answered."""

import io
import json
import logging
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from gallery.models import Entry, Gallery, Job
from gallery.services import applying, preload
from gallery.services.applying import HERE, REFUSED, STARTED, UNDER_WAY, ListRefused

DIRECT = {"name": "direct", "url": "https://x.test/direct.yaml"}


@pytest.fixture(autouse=True)
def fresh(db, models_path: Path) -> None:
    preload.begin_anew()


@pytest.fixture
def gallery() -> Gallery:
    """Named second in the order, behind another gallery that has one entry of the same name."""
    second = Gallery.objects.create(
        name="localai", url="https://x.test/", position=2, checked_at=timezone.now(), refreshed_at=timezone.now()
    )
    first = Gallery.objects.create(
        name="own", url="https://y.test/", position=1, checked_at=timezone.now(), refreshed_at=timezone.now()
    )
    for of, name in ((second, "phi"), (second, "a__b"), (second, "phi-q8"), (first, "phi")):
        variants = [{"model": "phi-q8"}] if name == "phi" else []
        Entry.objects.create(gallery=of, name=name, data={"name": name, "files": [], "variants": variants})
    return second


def requests() -> dict[str, dict[str, object]]:
    return {job.subject: job.request for job in Job.objects.all()}


def test_every_item_has_its_own_outcome_and_a_bad_one_stops_no_other(gallery, models_path):
    (models_path / "here.yaml").write_text("name: here\nbackend: piper\n")
    items = [
        {"id": "nowhere"},
        {"id": "localai@phi", "name": "p"},
        5,
        {"name": "here", "url": "https://x.test/here.yaml"},
        DIRECT,
        DIRECT,
        {"name": "../bad", "url": "u"},
        {**DIRECT, "url": "https://x.test/other.yaml"},
    ]
    outcomes = applying.apply_from_string(json.dumps(items), by=None)
    assert [outcome.number for outcome in outcomes] == list(range(1, 9))
    assert [outcome.result for outcome in outcomes] == [
        REFUSED, STARTED, REFUSED, HERE, STARTED, UNDER_WAY, REFUSED, REFUSED,
    ]  # fmt: skip
    assert "no entry 'nowhere'" in outcomes[0].sentence
    assert "a number instead of a map" in outcomes[2].sentence
    assert "Another install job" in outcomes[7].sentence
    assert outcomes[4].job == outcomes[5].job
    assert requests() == {
        "p": {"name": "p", "entry": "localai@phi"},
        "direct": {"name": "direct", "described": DIRECT},
    }


@pytest.mark.parametrize(
    ("wanted", "entry"),
    [
        ("phi", "own@phi"),  # the first gallery wins
        ("PHI", "own@phi"),
        ("LocalAI@Phi", "localai@phi"),
        ("a/b", "localai@a__b"),
        ("localai@a/b", "localai@a__b"),
    ],
)
def test_an_id_finds_its_entry_as_localai_does(gallery, wanted, entry):
    (outcome,) = applying.apply_from_string(json.dumps([{"id": wanted}]), by=None)
    assert outcome.result == STARTED, outcome.sentence
    assert outcome.job.request["entry"] == entry


def test_a_gallery_of_its_own_and_a_variant_are_taken_from_there(gallery):
    (outcome,) = applying.apply_from_string(
        '[{"id": "phi", "gallery": {"name": "localai"}, "variant": "PHI-Q8"}]', None
    )
    assert outcome.job.request == {"name": "phi", "entry": "localai@phi-q8"}
    (bad,) = applying.apply_from_string('[{"id": "localai@phi", "name": "q", "variant": "q2"}]', None)
    assert "no variant 'q2'. It has: phi-q8." in bad.sentence


def test_overrides_and_files_of_an_item_go_with_its_entry(gallery):
    item = {"id": "localai@phi", "overrides": {"f16": True}, "files": [{"filename": "x", "uri": "https://x.test/x"}]}
    (outcome,) = applying.apply_from_string(json.dumps([item]), None)
    assert outcome.job.request == {
        "name": "phi", "entry": "localai@phi", "overrides": {"f16": True}, "files": item["files"],
    }  # fmt: skip


def test_a_file_in_yaml_is_applied_the_same_way(tmp_path):
    (tmp_path / "list.yaml").write_text(
        "- name: direct\n  url: https://x.test/direct.yaml\n- name: c\n  config_file: {backend: piper}\n"
    )
    outcomes = applying.apply_from_file(tmp_path / "list.yaml", by=None)
    assert [outcome.result for outcome in outcomes] == [STARTED, STARTED]


def test_an_empty_list_is_accepted():
    assert applying.apply_from_string("[]", by=None) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("null", "null instead of a list"),
        ("{}", "a map instead of a list"),
        ("5", "a single value instead of a list"),
        ("", "nothing in it"),
        ('[{"id": ]', "not JSON"),
        ("<html>", "web page"),
        ('[{"name": "a", "tags": [], "url": "u"}]', "gallery's index"),
        (json.dumps([{"id": "x"}] * 501), "501 items; 500 are allowed"),
    ],
)
def test_what_is_no_list_says_what_was_expected(text, sentence):
    with pytest.raises(ListRefused, match=sentence) as refused:
        applying.apply_from_string(text, by=None)
    assert refused.value.action
    assert not Job.objects.exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ListRefused, match="cannot be read: No such file"):
        applying.apply_from_file(tmp_path / "gone.yaml", by=None)


def test_the_page_shows_what_became_of_each_item(as_installer: Client):
    text = json.dumps([DIRECT, {"id": "nowhere"}])
    answer = as_installer.post("/import/list/", {"text": text})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert Job.objects.get().get_absolute_url() in page
    assert Job.objects.get().by == "installer-person"
    assert "1 refused" in page
    assert "nowhere" in page


def test_a_list_is_uploaded_up_to_a_mebibyte(as_installer: Client):
    small = SimpleUploadedFile("list.json", json.dumps([DIRECT]).encode())
    assert as_installer.post("/import/list/", {"file": small}).status_code == 200
    assert Job.objects.count() == 1
    large = SimpleUploadedFile("list.json", b"[" + b" " * (1 << 20) + b"]")
    answer = as_installer.post("/import/list/", {"file": large})
    assert answer.status_code == 422
    assert "larger than 1 MiB" in answer.content.decode()
    broken = SimpleUploadedFile("list.json", b"\x00\x01")
    assert "This is not a text" in as_installer.post("/import/list/", {"file": broken}).content.decode()


def test_a_list_that_is_no_good_is_kept(as_installer: Client):
    answer = as_installer.post("/import/list/", {"text": "{my: map}"})
    assert answer.status_code == 422
    assert "a map instead of a list" in answer.content.decode()
    assert "{my: map}" in answer.content.decode()


def test_the_command_says_each_outcome_and_fails_when_one_was_refused(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps([DIRECT]))
    said = io.StringIO()
    call_command("apply", str(tmp_path / "good.json"), stdout=said)
    assert "1. direct: started." in said.getvalue()
    (tmp_path / "bad.json").write_text(json.dumps([{"id": "nowhere"}, DIRECT]))
    with pytest.raises(CommandError, match="1 of 2 were refused"):
        call_command("apply", str(tmp_path / "bad.json"), stdout=said)
    assert "1. nowhere: refused." in said.getvalue()
    assert "2. direct: under way." in said.getvalue()
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("apply", str(tmp_path / "gone.json"))


# --- At the start ---------------------------------------------------------------------------------------------------


def test_the_settings_lists_are_applied_once_a_start(settings, tmp_path, caplog):
    (tmp_path / "list.yaml").write_text("- {name: c, config_file: {backend: piper}}\n")
    settings.PRELOAD_MODELS = json.dumps([DIRECT, {"id": "nowhere"}])
    settings.PRELOAD_FILE = str(tmp_path / "list.yaml")
    caplog.set_level(logging.INFO)
    assert [outcome.result for outcome in preload.preload()] == [STARTED, REFUSED, STARTED]
    assert preload.preload() == []
    assert "PRELOAD_MODELS, item 1 (direct): started" in caplog.text
    assert "PRELOAD_MODELS, item 2 (nowhere): refused: The galleries have no entry" in caplog.text
    assert "PRELOAD_MODELS_CONFIG, item 1 (c): started" in caplog.text


def test_nothing_is_asked_for_before_every_gallery_was_asked(settings, gallery):
    settings.PRELOAD_MODELS = '[{"id": "localai@phi"}]'
    Gallery.objects.filter(pk=gallery.pk).update(checked_at=None)
    assert preload.preload() == []
    Gallery.objects.filter(pk=gallery.pk).update(checked_at=timezone.now())
    assert [outcome.result for outcome in preload.preload()] == [STARTED]


def test_an_entry_of_a_gallery_that_was_never_read_is_looked_for_again(settings, gallery):
    settings.PRELOAD_MODELS = json.dumps([{"id": "localai@late"}, DIRECT])
    Gallery.objects.filter(pk=gallery.pk).update(refreshed_at=None, error="no network")
    assert [outcome.name for outcome in preload.preload()] == ["direct"]
    assert preload.preload() == []
    Entry.objects.create(gallery=gallery, name="late", data={"name": "late", "files": []})
    Gallery.objects.filter(pk=gallery.pk).update(refreshed_at=timezone.now())
    assert [outcome.name for outcome in preload.preload()] == ["late"]
    assert preload.preload() == []


@pytest.mark.parametrize("said", ["null", "{", "words"])
def test_a_setting_that_is_no_list_is_named_in_the_log_and_stops_nothing(settings, caplog, said):
    settings.PRELOAD_MODELS = said
    assert preload.preload() == []
    assert "LOCALAI_PRELOAD_MODELS is not used" in caplog.text
    assert "Expected is a list" in caplog.text


def test_what_is_installed_already_is_not_asked_for_again(settings, models_path):
    (models_path / "direct.yaml").write_text("name: direct\n")
    settings.PRELOAD_MODELS = json.dumps([DIRECT])
    assert [outcome.result for outcome in preload.preload()] == [HERE]
    assert not Job.objects.exists()
