"""Galleries: the settings' rows, and keeping the console's copy of each index."""

from datetime import timedelta
from threading import Event

import pytest
from django.utils import timezone

from gallery.catalog.errors import CatalogError, SourceError
from gallery.models import Entry, EntryTag, Gallery, Job
from gallery.services import queue, refresh, running
from gallery.services.errors import EntryGone
from gallery.states import State
from tests.fakes import http_server, real_gallery

pytestmark = pytest.mark.django_db(transaction=True)

INDEX = b"""
- name: phi
  description: Phi answers. It is small.
  license: mit
  tags: [LLM, gguf, llm]
  files: [{filename: phi.gguf, uri: "https://x.test/phi.gguf"}]
- name: qwen
  overrides: {backend: llama-cpp, known_usecases: [chat]}
"""


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def server():
    with http_server.running() as server:
        yield server


def gallery_at(url, name="localai", **fields):
    return Gallery.objects.create(name=name, url=url, **fields)


def fresh(gallery):
    gallery.refresh_from_db()
    return gallery


def ago(**time):
    return timezone.now() - timedelta(**time)


def test_the_galleries_of_the_settings_become_rows_in_their_order(settings):
    settings.GALLERIES = [
        {"name": "one", "url": "https://one.test/index.yaml", "mirrors": ["https://two.test/index.yaml"]},
        {"name": "two", "url": "https://two.test/index.yaml"},
    ]
    assert refresh.sync_from_settings() == []
    rows = list(Gallery.objects.values_list("name", "url", "mirrors", "position", "enabled"))
    assert rows == [
        ("one", "https://one.test/index.yaml", ["https://two.test/index.yaml"], 1, True),
        ("two", "https://two.test/index.yaml", [], 2, True),
    ]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"name": "one"}, "no url"),
        ({"url": "https://one.test"}, "no name"),
        ({"name": "", "url": "https://one.test"}, "no name"),
        ("one", "map"),
        ({"name": "starter", "url": "https://one.test"}, "console's own"),
    ],
)
def test_a_gallery_that_is_no_good_is_named_and_the_others_are_there(settings, item, words):
    settings.GALLERIES = [item, {"name": "two", "url": "https://two.test/index.yaml"}]
    [problem] = refresh.sync_from_settings()
    assert words in problem
    assert list(Gallery.objects.values_list("name", flat=True)) == ["two"]


def test_a_gallery_that_the_settings_forgot_is_not_shown_but_the_starter_is(settings):
    settings.GALLERIES = []
    gallery_at("https://one.test", "one")
    gallery_at("file:///x", "starter")
    refresh.sync_from_settings()
    assert list(Gallery.objects.filter(enabled=True).values_list("name", flat=True)) == ["starter"]


def test_a_gallery_at_a_new_address_is_asked_as_if_for_the_first_time(settings):
    gallery = gallery_at("https://old.test", etag="1", checked_at=timezone.now())
    settings.GALLERIES = [{"name": "localai", "url": "https://new.test"}]
    refresh.sync_from_settings()
    assert (fresh(gallery).url, gallery.etag, gallery.checked_at) == ("https://new.test", "", None)


def test_an_index_is_read_with_tags_and_words_to_search(server):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    assert refresh.refresh_now(gallery.pk)
    phi, qwen = Entry.objects.all()
    assert (phi.name, phi.license, phi.summary, phi.position) == ("phi", "mit", "Phi answers. It is small.", 0)
    assert phi.data["files"] == [{"filename": "phi.gguf", "uri": "https://x.test/phi.gguf"}]
    assert sorted(tag.tag for tag in phi.tag_rows.all()) == ["gguf", "llm"]
    assert "phi answers." in phi.search
    assert (qwen.backend, qwen.usecases) == ("llama-cpp", ["chat"])
    assert (fresh(gallery).entry_count, gallery.error) == (2, "")
    assert gallery.refreshed_at
    assert gallery.etag == '"1"'


def test_a_changed_index_keeps_the_rows_of_what_is_still_there(server):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    refresh.refresh_now(gallery.pk)
    phi = Entry.objects.get(name="phi")
    server.gives("/index.yaml", b"- {name: new}\n- {name: phi, license: apache-2.0, tags: [small]}\n", etag='"2"')
    assert refresh.refresh_now(gallery.pk)
    assert list(Entry.objects.values_list("name", flat=True)) == ["new", "phi"]
    assert Entry.objects.get(name="phi").pk == phi.pk
    assert Entry.objects.get(name="phi").license == "apache-2.0"
    assert list(EntryTag.objects.values_list("tag", flat=True)) == ["small"]


def test_an_index_that_did_not_change_is_not_read_again(server):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    refresh.refresh_now(gallery.pk)
    before = fresh(gallery).refreshed_at
    assert not refresh.refresh_now(gallery.pk)
    assert server.seen[-1].headers["if-none-match"] == '"1"'
    assert fresh(gallery).refreshed_at == before


def test_a_server_without_validators_is_seen_to_send_the_same(server):
    gallery = gallery_at(server.gives("/index.yaml", INDEX, etag=""))
    assert refresh.refresh_now(gallery.pk)
    assert not refresh.refresh_now(gallery.pk)


@pytest.mark.parametrize(
    ("body", "how", "words"),
    [
        (b"[]", {}, "no entry"),
        (b"a: map", {}, "list"),
        (b"<!doctype html><title>Sign in</title>", {}, "web page"),
        (b"", {"status": 500}, "500"),
        (b"- {nothing: named}", {}, "no entry"),
    ],
)
def test_a_bad_answer_keeps_the_last_good_index_and_says_why(server, body, how, words):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    refresh.refresh_now(gallery.pk)
    server.gives("/index.yaml", body, etag='"2"', **how)
    with pytest.raises(CatalogError):
        refresh.refresh_now(gallery.pk)
    assert words in fresh(gallery).error
    assert (gallery.entry_count, Entry.objects.count()) == (2, 2)
    server.gives("/index.yaml", INDEX)
    refresh.refresh_now(gallery.pk)
    assert fresh(gallery).error == ""


def test_a_mirror_answers_when_the_address_does_not(server):
    server.gives("/broken", status=503)
    gallery = gallery_at(server.url("/broken"), mirrors=[server.gives("/mirror", INDEX)])
    assert refresh.refresh_now(gallery.pk)
    assert Entry.objects.count() == 2


def test_one_gallery_that_fails_leaves_the_others_alone(server):
    good, bad = gallery_at(server.gives("/good", INDEX)), gallery_at(server.gives("/bad", status=404), "bad")
    assert refresh.refresh_due(timezone.now(), 60, Event()) == ["localai"]
    assert fresh(good).error == ""
    assert "404" in fresh(bad).error


def test_a_gallery_that_is_gone_is_an_error_in_a_sentence():
    with pytest.raises(EntryGone, match="no longer there"):
        refresh.refresh_now(4711)


def test_an_index_of_the_real_size_is_read_whole_and_found_unchanged(tmp_path, settings):
    settings.FILE_ROOTS = [tmp_path]
    gallery = gallery_at(real_gallery.index(tmp_path).as_uri())
    assert refresh.refresh_now(gallery.pk)
    assert not refresh.refresh_now(gallery.pk)
    assert Entry.objects.count() == real_gallery.ENTRIES


def test_entries_that_are_left_out_are_counted_in_the_job_and_named_in_the_log(server, caplog):
    gallery = gallery_at(server.gives("/index.yaml", INDEX + b"\n- {description: no name}\n"))
    job = refresh.request_refresh(gallery, None)
    running.run(job.pk, refresh.run_refresh)
    job.refresh_from_db()
    assert job.message == "2 entries, read anew; 1 left out, the worker's log says why"
    assert f"Gallery {gallery.name}, left out: Entry 3: It has no name." in caplog.text


def test_a_person_gets_a_job_that_says_what_it_found(server, administrator):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    job = refresh.request_refresh(gallery, administrator)
    running.run(job.pk, refresh.run_refresh)
    job.refresh_from_db()
    assert (job.state, job.message, job.by) == (State.DONE, "2 entries, read anew", administrator.username)


def test_a_job_whose_gallery_does_not_answer_tries_again(server):
    gallery = gallery_at(server.gives("/index.yaml", status=503))
    job = refresh.request_refresh(gallery, None)
    assert running.run(job.pk, refresh.run_refresh) > 0
    job.refresh_from_db()
    assert (job.state, job.cause) == (State.RETRYING, SourceError.cause)


def test_what_is_found_unchanged_every_hour_leaves_no_job(server):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    assert refresh.refresh_due(timezone.now(), 60, Event()) == ["localai"]
    assert Job.objects.get().state == State.DONE
    Gallery.objects.update(checked_at=ago(hours=2))
    assert refresh.refresh_due(timezone.now(), 60, Event()) == []
    assert Job.objects.count() == 1
    assert fresh(gallery).checked_at > ago(minutes=1)


def test_a_gallery_is_asked_again_only_when_it_is_due(server):
    gallery_at(server.gives("/index.yaml", INDEX), checked_at=ago(minutes=30))
    assert refresh.refresh_due(timezone.now(), 60, Event()) == []
    assert not server.seen


def test_a_gallery_that_failed_is_asked_again_sooner(server):
    gallery_at(server.gives("/index.yaml", INDEX), checked_at=ago(minutes=11), error="It was away.")
    assert refresh.refresh_due(timezone.now(), 60, Event()) == ["localai"]
