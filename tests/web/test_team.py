import time

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client
from django.urls import reverse

from team import invitations

GOOD = {"username": "ada", "password1": "a quiet long phrase", "password2": "a quiet long phrase"}


def welcome_url() -> str:
    return reverse("team:welcome", args=[invitations.make_token()])


@pytest.mark.django_db
def test_the_link_makes_the_first_administrator_and_signs_in() -> None:
    client = Client()
    assert client.get(welcome_url()).status_code == 200
    assert client.post(welcome_url(), GOOD).url == "/"
    person = User.objects.get()
    assert (person.username, person.is_superuser) == ("ada", True)
    assert [group.name for group in person.groups.all()] == ["administrator"]
    assert client.get("/django-admin/").status_code == 200


@pytest.mark.django_db
def test_the_link_works_once() -> None:
    url = welcome_url()
    Client().post(url, GOOD)
    again = Client().post(url, {**GOOD, "username": "eve"})
    assert again.status_code == 410
    assert User.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["administrator", "administrator:1:x", "x"])
def test_a_made_up_link_makes_nobody(token: str) -> None:
    assert Client().post(reverse("team:welcome", args=[token]), GOOD).status_code == 410
    assert not User.objects.exists()


@pytest.mark.django_db
def test_a_link_is_over_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    token = invitations.make_token()
    tomorrow = time.time() + invitations.GOOD_FOR.total_seconds() + 1
    monkeypatch.setattr(signing.time, "time", lambda: tomorrow)
    assert not invitations.is_good(token)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password2": "another"}, "didn’t match"),
        ({"password1": "short", "password2": "short"}, "at least 12 characters"),
        ({"username": ""}, "required"),
    ],
)
def test_a_bad_form_says_what_is_wrong_and_keeps_the_name(change: dict[str, str], sentence: str) -> None:
    answer = Client().post(welcome_url(), {**GOOD, **change})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not User.objects.exists()


def test_sign_in_does_not_tell_which_of_the_two_was_wrong(viewer: User) -> None:
    answers = [
        Client().post("/sign-in/", {"username": name, "password": "wrong wrong wrong"}).content.decode()
        for name in (viewer.username, "nobody")
    ]
    for answer in answers:
        assert "do not belong together" in answer


def test_signing_in_goes_to_where_the_person_wanted_to_be(viewer: User) -> None:
    form = {"username": viewer.username, "password": "correct horse battery"}
    assert Client().post("/sign-in/?next=/jobs/", {**form, "next": "/jobs/"}).url == "/jobs/"
    assert Client().post("/sign-in/", {**form, "next": "https://elsewhere.example/"}).url == "/"


def test_an_account_is_locked_after_ten_wrong_passwords(viewer: User, settings) -> None:
    settings.AXES_ENABLED = True
    client = Client()
    for _ in range(10):
        client.post("/sign-in/", {"username": viewer.username, "password": "wrong wrong wrong"})
    answer = client.post("/sign-in/", {"username": viewer.username, "password": "correct horse battery"})
    assert answer.status_code == 429
    assert "Too many tries" in answer.content.decode()


def test_signing_out_needs_a_post(as_viewer: Client) -> None:
    assert as_viewer.get("/sign-out/").status_code == 405
    assert as_viewer.post("/sign-out/").status_code == 302
    assert as_viewer.get("/").status_code == 302
