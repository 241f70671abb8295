"""The galleries' own pages: what is seen, what can be done, and that headers never come out again."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.urls import get_resolver, reverse
from django.utils import timezone

from gallery.catalog import configured
from gallery.models import Entry, Gallery, Job, Revision
from gallery.services import queue
from gallery.states import Kind
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db

SECRET = "s3cr3t-value"
PAGE = "/gallery/galleries/"


@pytest.fixture(autouse=True)
def empty_queue(settings):
    settings.TRUSTED_HOSTS, settings.ALLOW_HTTP = [], False
    queue.HUEY.flush()


def gallery_of(name="house", **fields):
    facts = {"url": f"https://{name}.test/index.yaml", "source": Gallery.CONSOLE, "position": 1}
    return Gallery.objects.create(name=name, **{**facts, **fields})


def form(**fields):
    return {"name": "house", "url": "https://house.test/index.yaml", "schedule": "default", **fields}


def text(client, path=PAGE, status=200):
    response = client.get(path)
    assert response.status_code == status
    return response.content.decode()


def test_the_list_says_how_each_gallery_is(as_viewer):
    now = timezone.now()
    read = {"refreshed_at": now - timedelta(days=2), "checked_at": now - timedelta(minutes=10)}
    gallery_of("good", entry_count=1709, **read)
    gallery_of("old", error="It answered with 500. Try again.", **read)
    gallery_of("failed", error="It was not found. Check the address.", checked_at=now)
    gallery_of("off", enabled=False)
    gallery_of("mirrored", mirrors=["https://m.test/x"], answered_by="https://m.test/x", **read)
    gallery_of("manual", refresh_minutes=0, **read)
    page = text(as_viewer)
    for words in ("1,709", "Old copy", "It answered with 500. Try again.", "Failed", "Off", "in 49 min"):
        assert words in page
    assert "Answered by its mirror https://m.test/x" in page
    assert "only by button" in page
    assert "Refresh good" not in page, "a viewer only looks"


def test_the_list_asks_the_database_as_often_for_many_galleries_as_for_one(
    as_administrator, django_assert_max_num_queries
):
    for number in range(30):
        gallery_of(f"g{number}")
    with django_assert_max_num_queries(9):
        text(as_administrator)


def test_a_gallery_is_added_last_and_asked_once(as_administrator):
    gallery_of("first", position=4)
    answer = as_administrator.post(
        f"{PAGE}add/",
        form(mirrors="https://a.test/x\n\nhttps://b.test/y", headers=f"X-Key: {SECRET}", schedule="every", minutes="15",
             check="on"),
    )  # fmt: skip
    assert (answer.status_code, answer.url) == (303, PAGE)
    gallery = Gallery.objects.get(name="house")
    assert (gallery.source, gallery.position, gallery.refresh_minutes) == (Gallery.CONSOLE, 5, 15)
    assert gallery.mirrors == ["https://a.test/x", "https://b.test/y"]
    assert gallery.headers == {"X-Key": SECRET}
    job = Job.objects.get(kind=Kind.REFRESH)
    assert (job.subject, job.request) == ("house", {"gallery": gallery.pk})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a/b"}, "no name for one"),
        ({"name": "starter"}, "the console&#x27;s own"),
        ({"name": "galleries"}, "name of a page"),
        ({"name": "taken"}, "already"),
        ({"url": "http://house.test/x"}, "without TLS"),
        ({"url": "https://127.0.0.1/x"}, "LOCALAI_ADMIN_TRUSTED_HOSTS"),
        ({"url": "https://169.254.169.254/latest"}, "LOCALAI_ADMIN_TRUSTED_HOSTS"),
        ({"url": "https://2130706433/x"}, "LOCALAI_ADMIN_TRUSTED_HOSTS"),
        ({"url": "https://[::ffff:10.0.0.1]/x"}, "LOCALAI_ADMIN_TRUSTED_HOSTS"),
        ({"url": "https://localhost/x"}, "LOCALAI_ADMIN_TRUSTED_HOSTS"),
        ({"url": "file:///etc/passwd"}, "LOCALAI_ADMIN_FILE_ROOTS"),
        ({"url": "gopher://x.test"}, "does not download from"),
        ({"url": "https://ada:pass@x.test/i"}, "request header"),
        ({"mirrors": "https://ok.test/x\nhttps://10.0.0.1/x"}, "LOCALAI_ADMIN_TRUSTED_HOSTS"),
        ({"schedule": "every", "minutes": ""}, "how many minutes"),
        ({"schedule": "every", "minutes": "0"}, "greater than or equal to 1"),
        ({"headers": f"Host: {SECRET}"}, "Line 1 sets Host"),
    ],
)
def test_what_is_no_good_is_said_beside_the_field_and_nothing_is_kept(as_administrator, fields, words):
    gallery_of("taken")
    answer = as_administrator.post(f"{PAGE}add/", form(**{"headers": f"X-Key: {SECRET}", **fields}))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page
    assert 'class="field-error"' in page
    assert SECRET not in page
    assert Gallery.objects.count() == 1


def test_headers_are_kept_when_left_alone_replaced_and_removed_and_never_shown(as_administrator):
    gallery = gallery_of(headers={"Authorization": SECRET, "X-Team": f"{SECRET}-2"})
    page = text(as_administrator, f"{PAGE}{gallery.pk}/")
    assert "Authorization" in page
    assert SECRET not in page
    assert SECRET not in text(as_administrator)
    as_administrator.post(f"{PAGE}{gallery.pk}/", form())
    gallery.refresh_from_db()
    assert gallery.headers == {"Authorization": SECRET, "X-Team": f"{SECRET}-2"}
    as_administrator.post(f"{PAGE}{gallery.pk}/", form(headers="authorization: new", removed=["X-Team"]))
    gallery.refresh_from_db()
    assert gallery.headers == {"authorization": "new"}


def test_headers_are_not_in_the_admin_nor_in_a_job(as_administrator):
    gallery = gallery_of(headers={"Authorization": SECRET})
    as_administrator.post(f"{PAGE}{gallery.pk}/refresh/")
    job = Job.objects.get(kind=Kind.REFRESH)
    for path in (
        reverse("admin:gallery_gallery_change", args=[gallery.pk]),
        reverse("admin:gallery_gallery_changelist"),
        job.get_absolute_url(),
    ):
        assert SECRET not in text(as_administrator, path)


def test_kept_headers_do_not_follow_an_address_to_another_host(as_administrator):
    gallery = gallery_of(headers={"Authorization": SECRET})
    elsewhere = "https://elsewhere.test/index.yaml"
    answer = as_administrator.post(f"{PAGE}{gallery.pk}/", form(url=elsewhere))
    assert answer.status_code == 422
    assert "on another host now" in answer.content.decode()
    for fields, headers in (({"headers": "Authorization: b"}, {"Authorization": "b"}),):
        assert as_administrator.post(f"{PAGE}{gallery.pk}/", form(url=elsewhere, **fields)).status_code == 303
        gallery.refresh_from_db()
        assert (gallery.url, gallery.headers) == (elsewhere, headers)


def test_another_address_is_asked_as_if_for_the_first_time_and_the_copy_stays(as_administrator):
    gallery = gallery_of(etag="1", checked_at=timezone.now(), digest="d", entry_count=3)
    as_administrator.post(f"{PAGE}{gallery.pk}/", form(url="https://house.test/new.yaml"))
    gallery.refresh_from_db()
    assert (gallery.etag, gallery.checked_at, gallery.digest, gallery.entry_count) == ("", None, "d", 3)


def test_a_gallery_of_the_settings_keeps_its_name_and_address_and_takes_the_rest(as_administrator):
    gallery = gallery_of("fixed", source=Gallery.SETTINGS)
    page = text(as_administrator, f"{PAGE}{gallery.pk}/")
    assert "named by LOCALAI_GALLERIES" in page
    answer = as_administrator.post(
        f"{PAGE}{gallery.pk}/", form(name="x", url="https://x.test", schedule="never", headers="X-Key: k")
    )
    assert answer.status_code == 303
    gallery.refresh_from_db()
    assert (gallery.name, gallery.url) == ("fixed", "https://fixed.test/index.yaml")
    assert (gallery.refresh_minutes, gallery.headers) == (0, {"X-Key": "k"})


def test_what_came_from_a_gallery_follows_its_new_name(as_administrator):
    gallery = gallery_of()
    Revision.objects.create(name="phi", gallery="house", entry="phi")
    as_administrator.post(f"{PAGE}{gallery.pk}/", form(name="home"))
    assert Revision.objects.get().gallery == "home"


def test_galleries_change_places_and_at_the_end_nothing_happens(as_administrator):
    one, two, three = (gallery_of(name, position=1) for name in ("one", "three", "two"))
    for gallery, way in ((three, "up"), (one, "up"), (two, "down")):
        assert as_administrator.post(f"{PAGE}{gallery.pk}/move/{way}/").status_code == 303
    assert list(Gallery.objects.values_list("name", "position")) == [("one", 1), ("two", 2), ("three", 3)]


def test_what_is_off_is_kept_and_not_shown(as_administrator):
    gallery = gallery_of()
    Entry.objects.create(gallery=gallery, name="phi")
    as_administrator.post(f"{PAGE}{gallery.pk}/switch/off/")
    assert list(Entry.objects.shown()) == []
    assert text(as_administrator, "/gallery/house/phi/", status=404)
    as_administrator.post(f"{PAGE}{gallery.pk}/switch/on/")
    assert [entry.name for entry in Entry.objects.shown()] == ["phi"]


def test_removing_says_how_many_entries_go_and_calls_its_refresh_off(as_administrator):
    gallery = gallery_of(entry_count=2)
    for name in ("phi", "qwen"):
        Entry.objects.create(gallery=gallery, name=name)
    as_administrator.post(f"{PAGE}{gallery.pk}/refresh/")
    assert "its 2 entries" in text(as_administrator)
    answer = as_administrator.post(f"{PAGE}{gallery.pk}/remove/", follow=True)
    assert "house and its 2 entries are gone" in answer.content.decode()
    assert (Gallery.objects.count(), Entry.objects.count()) == (0, 0)
    assert Job.objects.get().state == "cancelled"


def test_a_gallery_that_the_settings_name_is_not_removed_one_they_forgot_is(as_administrator):
    named = gallery_of("named", source=Gallery.SETTINGS)
    forgotten = gallery_of("forgotten", source=Gallery.SETTINGS, named=False)
    answer = as_administrator.post(f"{PAGE}{named.pk}/remove/", follow=True)
    assert "take it out there, or switch it off" in answer.content.decode()
    as_administrator.post(f"{PAGE}{forgotten.pk}/remove/")
    assert list(Gallery.objects.values_list("name", flat=True)) == ["named"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "add/"),
        ("post", "add/"),
        ("get", "{pk}/"),
        ("post", "{pk}/"),
        ("post", "{pk}/move/up/"),
        ("post", "{pk}/switch/on/"),
        ("post", "{pk}/switch/off/"),
        ("post", "{pk}/remove/"),
    ],
)
def test_only_administrators_change_galleries(installer, method, path):
    gallery = gallery_of()
    answer = getattr(signed_in(installer), method)(PAGE + path.format(pk=gallery.pk), form())
    assert answer.status_code == 403
    assert Gallery.objects.get() == gallery


def test_names_of_pages_are_no_names_of_galleries():
    routes = [str(pattern.pattern) for app in get_resolver().url_patterns if getattr(app, "app_name", "") == "gallery"
              for pattern in app.url_patterns]  # fmt: skip
    first = {route.lstrip("^").split("/")[1] for route in routes if route.lstrip("^").startswith("gallery/")}
    assert {word for word in first if word and "<" not in word} == configured.PAGES


def test_the_galleries_that_an_earlier_version_left_are_understood():
    for name, enabled in (("starter", True), ("named", True), ("forgotten", False)):
        gallery_of(name, source=Gallery.SETTINGS, enabled=enabled, digest="d", etag="e", checked_at=timezone.now())
    import_module("gallery.migrations.0002_installs").tell_who_named_galleries(apps, None)
    rows = Gallery.objects.order_by("name").values_list("name", "source", "enabled", "named", "digest", "checked_at")
    assert list(rows) == [
        ("forgotten", "settings", True, False, "", None),
        ("named", "settings", True, True, "", None),
        ("starter", "starter", True, True, "", None),
    ]
