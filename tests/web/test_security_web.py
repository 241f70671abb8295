"""What the log, a body, a header and an error page may tell, and to whom."""

import logging
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from localai_admin.bodies import Places
from localai_admin.logs import Line
from team import invitations

pytestmark = pytest.mark.django_db


# --- The log ----------------------------------------------------------------------------------------------------------


def test_the_welcome_link_is_not_written_into_the_log() -> None:
    token = invitations.make_token()
    for text in (f"GET /welcome/{token}/ answered 403", f"Forbidden: /welcome/{token}"):
        assert token not in line(text)


def line(message: str, *arguments: object) -> str:
    return Line("{levelname} {message}", style="{").format(
        logging.LogRecord("x", logging.INFO, __file__, 1, message, arguments, None)
    )


def test_nobody_can_write_a_line_of_their_own_into_the_log(as_viewer: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert line("GET %s", "/x\nERROR all is lost\x1b[2J\u202e") == "INFO GET /x\\nERROR all is lost\\x1b[2J\\u202e"
    with caplog.at_level(logging.INFO):
        caplog.handler.setFormatter(Line("{message}", style="{"))
        as_viewer.get("/x%0aERROR%20fake/")
    assert "\nERROR fake" not in caplog.text


@pytest.mark.parametrize(
    "secret", ["Bearer abc.def-123", "bearer sk-12345", "https://me:pass-word@host.example/", "hf_AbCdEfGhIjKl"]
)
def test_secrets_are_not_written_into_the_log(secret: str) -> None:
    written = line("The call failed: %s", secret)
    for part in ("abc.def-123", "sk-12345", "pass-word", "AbCdEfGhIjKl"):
        assert part not in written


# --- What is sent -----------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_before_it_is_read(settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"):
        answer = Client().generic("POST", "/sign-in/", b"x" * 1001, content_type=kind)
        assert answer.status_code == 413
        assert "Send less" in answer.content.decode()


def test_slow_clients_get_no_more_places_than_there_are_and_one_address_half_of_them() -> None:
    places = Places(4)
    assert [places.take("a"), places.take("a"), places.take("a")] == [True, True, False]
    assert [places.take("b"), places.take("c"), places.take("d")] == [True, True, False]
    places.give_back("a")
    assert places.take("d")


def test_a_call_by_a_name_that_is_not_the_consoles_is_refused_and_told_why(settings) -> None:
    settings.ALLOWED_HOSTS = ["console.example"]
    for host in ("evil.example", "console.example.evil.example", "console.example:80@evil.example", "a b"):
        answer = Client().get("/sign-in/", headers={"Host": host})
        assert answer.status_code == 400
        assert "LOCALAI_ADMIN_HOSTS" in answer.content.decode()
    assert Client().get("/sign-in/", headers={"Host": "console.example"}).status_code == 200


# --- Headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/sign-in/",
        "/nowhere/",
        "/static/nowhere.css",
        "/static/css/console.css",
        "/healthz",
        "/metrics",
        "/django-admin/",
        "/models/m/",
        "/monitor/m/log/",
        "/strip/",
    ],
)
def test_every_answer_says_what_a_browser_may_do_with_it(
    as_administrator: Client, models_path: Path, path: str
) -> None:
    (models_path / "m.yaml").write_text("name: m\n")
    for client in (as_administrator, Client()):
        headers = client.get(path).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        if not path.startswith("/static/css"):
            assert "no-store" in headers["Cache-Control"]


def test_a_page_that_breaks_tells_nothing_of_the_inside(administrator: User, settings) -> None:
    settings.ROOT_URLCONF = "tests.web.urls_without_permission"
    client = Client(raise_request_exception=False)
    client.force_login(administrator, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get("/broken/")
    assert answer.status_code == 500
    text = answer.content.decode()
    for inside in (
        "Traceback",
        "RuntimeError",
        "a secret of the inside",
        settings.SECRET_KEY,
        str(settings.DATA),
        "SELECT",
    ):
        assert inside not in text
    assert "Content-Security-Policy" in answer.headers


def test_metrics_behind_a_proxy_are_not_for_the_proxys_neighbours(settings) -> None:
    for header in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via"):
        assert Client(REMOTE_ADDR="127.0.0.1").get("/metrics", headers={header: "x"}).status_code == 403
