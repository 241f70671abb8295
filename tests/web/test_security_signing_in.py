"""Who gets in, for how long, and where an answer sends a person."""

import re
import time
from pathlib import Path

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from gallery.models import Job
from localai_admin.lib import htmx
from tests.conftest import signed_in
from tests.web.test_access import ALL, name_of, sample

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.django_db


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https:///evil.example",
    "http://testserver@evil.example/",
    "http://testserver.evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "http://testserver:80@evil.example",
    "http:\\\\evil.example",
    "/\t/evil.example",
    "http://[::1",
    "foo",
    "overview",
    "http://testserver//evil.example/",
    "http://testserver/\\evil.example",
    "//testserver\\@evil.example/",
    "",
]


@pytest.mark.parametrize("header", ["HX-Current-URL", "Referer"])
@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_post_goes_back_to_a_page_of_the_console_only(place: str, header: str) -> None:
    request = RequestFactory().post("/x", headers={header: place} if place else {})
    answer = htmx.back(request, "/jobs/")
    assert answer.status_code == 303
    target = answer.headers["Location"]
    assert target.startswith("/"), target
    assert is_local(target), target


def is_local(target: str) -> bool:
    """As a browser takes it: backslashes are slashes, tabs are nothing, and what is no path is beside this page."""
    taken = re.sub(r"[\t\r\n]", "", target).replace("\\", "/")
    return taken.startswith("http://testserver/") or not re.match(r"//|[a-z]+:", taken)


def test_a_post_goes_back_to_the_page_it_came_from_with_its_filters() -> None:
    request = RequestFactory().post("/x", headers={"HX-Current-URL": "http://testserver/jobs/?tab=record&page=2"})
    assert htmx.back(request, "/").headers["Location"] == "/jobs/?tab=record&page=2"


@pytest.mark.parametrize("place", ELSEWHERE)
def test_signing_in_leads_to_a_page_of_the_console_only(viewer: User, place: str) -> None:
    form = {"username": viewer.username, "password": PASSWORD, "next": place}
    targets = [Client().post("/sign-in/", form), signed_in(viewer).get("/sign-in/", {"next": place})]
    for target in (target.headers["Location"] for target in targets):
        assert is_local(target), target


def test_somebody_signed_in_who_is_sent_to_the_sign_in_page_comes_to_the_overview(as_viewer: Client) -> None:
    assert as_viewer.get("/sign-in/", {"next": "/sign-in/"}).headers["Location"] == "/"


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_fragment_of_a_stranger_is_sent_to_the_sign_in_page_of_the_console(place: str) -> None:
    answer = Client().get("/strip/", headers={"HX-Request": "true", "HX-Current-URL": place})
    assert answer.headers["HX-Redirect"].startswith("/sign-in/?next=/")


# --- Signing in -------------------------------------------------------------------------------------------------------


@pytest.fixture
def throttled(settings) -> None:
    settings.AXES_ENABLED = True


def try_to_sign_in(name: str, password: str = "wrong wrong wrong", address: str = "203.0.113.1", **headers: str) -> int:
    form = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address).post("/sign-in/", form, headers=headers).status_code


def test_one_address_cannot_try_many_names(viewer: User, throttled: None, settings) -> None:
    settings.SIGN_IN_LIMITS = (10, 12, 100)
    answers = [try_to_sign_in(f"name-{n}") for n in range(12)]
    assert answers == [200] * 11 + [429]
    assert try_to_sign_in(viewer.username, PASSWORD) == 429
    assert try_to_sign_in(viewer.username, PASSWORD, address="203.0.113.9") == 302


def test_a_proxy_that_does_not_say_for_whom_it_calls_is_not_locked_out_for_one(throttled: None, settings) -> None:
    settings.SIGN_IN_LIMITS = (10, 2, 100)
    for address in ("127.0.0.1", "::1"):
        assert [try_to_sign_in(f"name-{n}", address=address) for n in range(4)] == [200] * 4


def test_many_addresses_cannot_try_one_name(viewer: User, throttled: None, settings) -> None:
    settings.SIGN_IN_LIMITS = (10, 50, 15)
    answers = [try_to_sign_in(viewer.username, address=f"203.0.113.{n}") for n in range(15)]
    assert answers == [200] * 14 + [429]
    assert try_to_sign_in(viewer.username, PASSWORD, address="198.51.100.1") == 429


def test_one_network_of_ipv6_counts_as_one_address(throttled: None, settings) -> None:
    settings.SIGN_IN_LIMITS = (10, 12, 100)
    answers = [try_to_sign_in(f"name-{n}", address=f"2001:db8:1:2::{n:x}") for n in range(12)]
    assert answers[-1] == 429
    assert try_to_sign_in("name", address="2001:db8:1:3::1") == 200


def test_a_forged_header_does_not_make_another_address(throttled: None, settings) -> None:
    settings.SIGN_IN_LIMITS = (10, 12, 100)
    answers = [try_to_sign_in(f"name-{n}", **{"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(12)]
    assert answers[-1] == 429
    settings.BEHIND_TLS = True
    passed_on = {"X-Forwarded-For": "203.0.113.1, 198.51.100.7", "X-Forwarded-Proto": "https"}
    assert try_to_sign_in("name", address="10.0.0.1", **passed_on) == 200


def test_whoever_is_locked_out_is_told_when_to_come_back(throttled: None, settings) -> None:
    settings.SIGN_IN_LIMITS = (1, 50, 100)
    answer = Client().post(
        "/sign-in/", {"username": "ada", "password": "wrong"}, headers={"X-Requested-With": "XMLHttpRequest"}
    )
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == 900
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "ada" not in answer.content.decode()


def test_trying_on_does_not_make_the_pause_longer_for_the_one_whose_name_it_is(
    viewer: User, throttled: None, settings
) -> None:
    from axes.models import AccessAttempt

    settings.SIGN_IN_LIMITS = (10, 50, 2)
    for n in range(5):
        try_to_sign_in(viewer.username, address=f"203.0.113.{n}")
    assert AccessAttempt.objects.filter(username=viewer.username).count() == 2


class CountingHasher(MD5PasswordHasher):
    """The work is done once, whether there is such a person or not."""

    algorithm = "counting"
    done = 0

    def encode(self, password: str, salt: str) -> str:
        CountingHasher.done += 1
        return super().encode(password, salt)


def test_signing_in_takes_as_long_for_a_name_that_nobody_has(settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    User.objects.create_user("ada", password=PASSWORD)
    User.objects.create_user("gone", password=PASSWORD, is_active=False)
    work, pages = [], []
    for name in ("ada", "gone", "nobody"):
        before = CountingHasher.done
        page = Client().post("/sign-in/", {"username": name, "password": "wrong wrong wrong"}).content.decode()
        work.append(CountingHasher.done - before)
        pages.append(re.sub(r"\b[A-Za-z0-9]{64}\b|" + name, "", page))
    assert len(set(work)) == 1
    assert len(set(pages)) == 1


def test_signing_in_makes_a_new_session(viewer: User) -> None:
    client = Client()
    client.get("/sign-in/")
    client.session["planted"] = "x"
    session = client.session
    session["planted"] = "x"
    session.save()
    client.cookies["sessionid"] = session.session_key
    client.post("/sign-in/", {"username": viewer.username, "password": PASSWORD})
    assert client.session.session_key != session.session_key
    assert client.get("/").status_code == 200
    stale = Client()
    stale.cookies["sessionid"] = session.session_key
    assert stale.get("/").status_code == 302


def test_a_session_ends_at_its_absolute_limit(as_viewer: Client, settings) -> None:
    assert as_viewer.get("/").status_code == 200
    change_session(as_viewer, signed_in_at=int(time.time()) - settings.SESSION_COOKIE_AGE - 1)
    assert as_viewer.get("/").status_code == 302


def test_an_idle_session_ends_and_a_page_that_asks_by_itself_does_not_keep_it(as_viewer: Client, settings) -> None:
    an_hour_ago = int(time.time()) - 3600
    change_session(as_viewer, seen_at=an_hour_ago)
    assert as_viewer.get("/strip/", headers={"HX-Request": "true"}).status_code == 200
    assert as_viewer.session["seen_at"] == an_hour_ago
    as_viewer.get("/")
    assert as_viewer.session["seen_at"] > an_hour_ago
    change_session(as_viewer, seen_at=int(time.time()) - settings.SESSION_IDLE_SECONDS - 1)
    assert as_viewer.get("/strip/", headers={"HX-Request": "true"}).headers["HX-Redirect"].startswith("/sign-in/")
    assert as_viewer.get("/").status_code == 302


def change_session(client: Client, **values: int) -> None:
    session = client.session
    session.update(values)
    session.save()


def test_a_session_that_does_not_tell_when_it_began_is_over(as_viewer: Client) -> None:
    session = as_viewer.session
    del session["signed_in_at"]
    session.save()
    assert as_viewer.get("/").status_code == 302


def test_every_action_of_a_session_needs_its_token(installer: User, models_path: Path) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(installer, backend="django.contrib.auth.backends.ModelBackend")
    (models_path / "x.yaml").write_text("name: x\n")
    for _, pattern in ALL:
        name = "team:sign_out" if pattern.name == "sign_out" else name_of(pattern)
        arguments = {key: sample(converter) for key, converter in pattern.pattern.converters.items()}
        for headers in (
            {},
            {"HX-Request": "true"},
            {"Content-Type": "application/json"},
            {"Accept": "application/x-ndjson"},
        ):
            assert client.post(reverse(name, kwargs=arguments), headers=headers).status_code == 403
    assert not Job.objects.exists()


def test_cookies_are_for_this_site_and_not_for_scripts(viewer: User) -> None:
    client = Client()
    client.get("/sign-in/")
    client.post("/sign-in/", {"username": viewer.username, "password": PASSWORD})
    for cookie in ("sessionid", "csrftoken"):
        assert client.cookies[cookie]["httponly"]
        assert client.cookies[cookie]["samesite"] == "Lax"
