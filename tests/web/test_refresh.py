"""Galleries: the settings' rows, and keeping the console's copy of each index."""

from datetime import timedelta
from threading import Event

import pytest
from django.utils import timezone

from gallery.catalog.errors import CatalogError, SourceError
from gallery.models import Entry, Gallery, Job
from gallery.services import queue, refresh, running, transport
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
    gallery_at("https://two.test", "two", source=Gallery.CONSOLE)
    gallery_at("file:///x", "starter", source=Gallery.STARTER)
    refresh.sync_from_settings()
    assert list(Gallery.objects.shown().values_list("name", flat=True)) == ["starter", "two"]
    assert Gallery.objects.get(name="one").enabled, "that is a person's choice"


def test_what_a_person_chose_outlives_a_new_look_at_the_settings(settings):
    settings.GALLERIES = [{"name": "one", "url": "https://one.test/a"}]
    chosen = {"enabled": False, "position": 7, "headers": {"X-Key": "k"}, "refresh_minutes": 5}
    gallery = gallery_at("https://one.test/b", "one", named=False, **chosen)
    assert refresh.sync_from_settings() == []
    fresh(gallery)
    assert {name: getattr(gallery, name) for name in chosen} == chosen
    assert (gallery.url, gallery.named) == ("https://one.test/a", True)


def test_headers_are_forgotten_when_the_settings_move_a_gallery_to_another_host(settings):
    settings.GALLERIES = [{"name": "one", "url": "https://other.test/a"}]
    gallery = gallery_at("https://one.test/a", "one", headers={"X-Key": "k"})
    refresh.sync_from_settings()
    assert fresh(gallery).headers == {}


def test_a_gallery_of_the_console_is_not_taken_over_by_the_settings(settings):
    settings.GALLERIES = [{"name": "one", "url": "https://settings.test"}]
    gallery = gallery_at("https://console.test", "one", source=Gallery.CONSOLE)
    [problem] = refresh.sync_from_settings()
    assert "added in the console" in problem
    assert refresh.setting_problems() == [problem]
    assert fresh(gallery).url == "https://console.test"


def test_a_new_gallery_of_the_settings_comes_last(settings):
    gallery_at("https://console.test", "mine", source=Gallery.CONSOLE, position=4)
    settings.GALLERIES = [{"name": "one", "url": "https://one.test"}]
    refresh.sync_from_settings()
    assert Gallery.objects.get(name="one").position == 5


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
    assert phi.tags == ["LLM", "gguf", "llm"]
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
    assert Entry.objects.get(name="phi").tags == ["small"]


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


def test_every_entry_gets_its_digest_which_a_new_description_leaves_as_it_is(server):
    gallery = gallery_at(server.gives("/index.yaml", INDEX))
    refresh.refresh_now(gallery.pk)
    before = dict(Entry.objects.values_list("name", "digest"))
    assert all(len(digest) == 64 for digest in before.values())
    changed = INDEX.replace(b"It is small.", b"It is tiny.").replace(b"backend: llama-cpp", b"backend: other")
    server.gives("/index.yaml", changed, etag='"2"')
    refresh.refresh_now(gallery.pk)
    after = dict(Entry.objects.values_list("name", "digest"))
    assert (after["phi"] == before["phi"], after["qwen"] == before["qwen"]) == (True, False)


def test_a_gallery_has_a_schedule_of_its_own_and_one_only_by_button_is_left_alone(server):
    url = server.gives("/index.yaml", INDEX)
    hourly = gallery_at(url, "hourly", checked_at=ago(minutes=30))
    quick = gallery_at(url, "quick", checked_at=ago(minutes=30), refresh_minutes=20)
    never = gallery_at(url, "never", refresh_minutes=0)
    assert refresh.refresh_due(timezone.now(), 60, Event()) == ["quick"]
    assert [fresh(gallery).refreshed_at is not None for gallery in (hourly, quick, never)] == [False, True, False]


def test_a_gallery_that_is_off_is_not_asked(server):
    gallery_at(server.gives("/index.yaml", INDEX), enabled=False)
    assert refresh.refresh_due(timezone.now(), 60, Event()) == []
    assert server.seen == []


def test_request_headers_go_to_the_gallerys_own_host_and_to_no_mirror_or_redirect(server):
    secret = {"Authorization": "Bearer s3cr3t"}
    with http_server.running() as other:
        moved = other.gives("/moved.yaml", INDEX)
        server.gives("/index.yaml", redirect=moved)
        gallery = gallery_at(server.url("/index.yaml"), headers=secret)
        assert refresh.refresh_now(gallery.pk)
        assert server.asked("/index.yaml")[0].headers["authorization"] == secret["Authorization"]
        assert "authorization" not in other.asked("/moved.yaml")[0].headers
        server.gives("/index.yaml", status=500)
        Gallery.objects.update(mirrors=[other.gives("/mirror.yaml", INDEX)], digest="")
        assert refresh.refresh_now(gallery.pk)
        assert "authorization" not in other.asked("/mirror.yaml")[0].headers
    assert fresh(gallery).answered_by.endswith("/mirror.yaml")


def test_what_lies_beside_a_private_index_gets_its_headers_too(server):
    gallery_at(server.url("/index.yaml"), headers={"X-Key": "k"})
    with transport.downloader() as opened, http_server.running() as other:
        assert opened.fetch(server.gives("/recipe.yaml", b"name: x")).body
        assert opened.fetch(other.gives("/recipe.yaml", b"name: x")).body
        assert "x-key" not in other.seen[-1].headers
    assert server.seen[-1].headers["x-key"] == "k"


def test_of_two_galleries_on_one_host_each_has_its_own_headers(server):
    first = gallery_at(server.gives("/a.yaml", INDEX), "a", headers={"X-Key": "a"}, position=1)
    second = gallery_at(server.gives("/b.yaml", INDEX), "b", headers={"X-Key": "b"}, position=2)
    for gallery in (first, second):
        refresh.refresh_now(gallery.pk)
    assert [server.asked(path)[0].headers["x-key"] for path in ("/a.yaml", "/b.yaml")] == ["a", "b"]


def test_a_source_that_failed_is_asked_after_the_others_for_a_while_but_not_by_button(server):
    server.gives("/index.yaml", status=500)
    gallery = gallery_at(server.url("/index.yaml"), mirrors=[server.gives("/mirror.yaml", INDEX)])
    refresh.refresh_now(gallery.pk)
    refresh.refresh_now(gallery.pk)
    assert [request.path for request in server.seen] == ["/index.yaml", "/mirror.yaml", "/mirror.yaml"]
    job = refresh.request_refresh(gallery, by=None)
    running.run(job.pk, refresh.run_refresh)
    assert [request.path for request in server.seen[3:]] == ["/index.yaml", "/mirror.yaml"]


def test_a_reference_is_followed_for_a_mirror_too(server):
    server.gives("/index.yaml", status=500)
    server.gives("/copy/list.yaml", INDEX)
    gallery = gallery_at(server.url("/index.yaml"), mirrors=[server.gives("/copy/latest.ref", b"list.yaml\n")])
    assert refresh.refresh_now(gallery.pk)
    assert fresh(gallery).entry_count == 2
