"""Who gets in, and what cannot be done to the console from outside: each promise with an attack that must fail."""

import json
import logging
import re
import stat
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from gallery.catalog.errors import SourceError
from gallery.catalog.sources import fetch_index
from gallery.downloads import places
from gallery.downloads.errors import NotFound, UnsafeName
from gallery.downloads.transport import Document
from gallery.models import Entry, Gallery, Job
from gallery.states import Kind
from localai_admin.bodies import Places
from localai_admin.lib import addresses, htmx
from localai_admin.logs import Line
from models import inventory, secrets
from models.config_folder import ConfigFolder
from models.deletion import delete_files, plan_deletion
from models.models import Instance
from team import invitations
from tests.conftest import signed_in
from tests.web.test_access import ALL, name_of, sample

PASSWORD = "correct horse battery"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>' hx-get=/x"

pytestmark = pytest.mark.django_db


# --- Pages as a browser reads them ------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """What a browser could be made to do by a page: its elements and attributes, without those that are text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))


def assert_harmless(answer: HttpResponse) -> None:
    """No script but the console's own files, no handler, no link that runs, no image of somebody who was not asked."""
    for tag, attributes in _Page(answer.content.decode()).elements:
        assert tag not in {"iframe", "object", "embed", "base", "applet"}
        if tag == "script":
            assert attributes["src"].startswith(("/static/", "/django-admin/jsi18n/"))
        if tag == "img":
            assert attributes["src"].startswith(("https://", "/static/"))
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"href", "src", "action", "formaction"}:
                assert re.match(r"(https?://|mailto:|/|\?|#)", value), f"{tag} {name}={value}"
            if name.startswith(("hx-get", "hx-post", "data-hx")):
                assert value.startswith(("/", "?")), f"{tag} {name}={value}"
            if name in {"action", "formaction"}:
                assert value.startswith("/")
                assert not value.startswith("//")


@pytest.fixture
def hostile_gallery() -> Gallery:
    return Gallery.objects.create(
        name="x", url="https://gallery.example/index.yaml", enabled=True, error=HOSTILE, entry_count=1
    )


def hostile_entry(gallery: Gallery, **changes: Any) -> Entry:
    files = [{"filename": HOSTILE, "uri": f"javascript:{HOSTILE}", "sha256": HOSTILE}]
    data = {
        "description": f"{HOSTILE}\n\n[a](javascript:alert(1)) <a href='https://x.example' hx-post='/sign-out/'>b</a>"
        "<form action=https://evil.example><input name=password></form> [c](data:text/html,x)",
        "urls": ["javascript:alert(1)", "https://fine.example/", f"https://x.example/{HOSTILE}", "//evil.example"],
        "url": f"javascript:{HOSTILE}",
        "files": files,
        "variants": [{"model": HOSTILE}],
        "overrides": {"system_prompt": HOSTILE, "trust_remote_code": True},
    }
    fields = {
        "name": "fine",
        "position": 1,
        "summary": HOSTILE,
        "license": HOSTILE,
        "icon": "javascript:alert(1)",
        "backend": HOSTILE,
        "tags": [HOSTILE],
        "usecases": [HOSTILE],
        "search": "fine",
        "data": data,
    }
    return Entry.objects.create(gallery=gallery, **{**fields, **changes})


def test_nothing_a_gallery_says_runs_in_a_page(
    as_administrator: Client, hostile_gallery: Gallery, models_path: Path
) -> None:
    entry = hostile_entry(hostile_gallery)
    hostile_entry(
        hostile_gallery, name='"onmouseover="alert(1)', position=2, icon='https://x.example/"onerror="alert(1)'
    )
    for url in ("/gallery/", "/", entry.get_absolute_url(), "/gallery/?q=" + HOSTILE, "/gallery/?tag=" + HOSTILE):
        answer = as_administrator.get(url)
        assert answer.status_code == 200, url
        assert_harmless(answer)


def test_nothing_a_job_holds_runs_in_a_page(as_administrator: Client, models_path: Path) -> None:
    for state in ("failed", "retrying", "downloading", "done"):
        job = Job.objects.create(
            kind=Kind.INSTALL,
            subject=state + HOSTILE,
            request={"x": HOSTILE},
            state=state,
            error=HOSTILE,
            action=HOSTILE,
            message=HOSTILE,
            by=HOSTILE[:150],
        )
        job.files.create(filename=HOSTILE, uri=HOSTILE, position=0, status=HOSTILE[:20])
        job.events.create(by=HOSTILE[:150], from_state="queued", to_state=state, why=HOSTILE)
        for url in (job.get_absolute_url(), f"/django-admin/gallery/job/{job.pk}/change/"):
            answer = as_administrator.get(url)
            assert answer.status_code == 200
            assert_harmless(answer)
    for url in ("/jobs/", "/jobs/?tab=attention", "/jobs/?tab=record&q=" + HOSTILE, "/", "/django-admin/gallery/job/"):
        assert_harmless(as_administrator.get(url))


def test_nothing_a_model_or_its_backend_says_runs_in_a_page(
    as_administrator: Client, models_path: Path, settings
) -> None:
    name = '"><svg onload=alert(1)>'
    config = {"name": name, "description": HOSTILE, "backend": "x", "parameters": {"model": "<b>.gguf"}, "x": HOSTILE}
    (models_path / "m.yaml").write_text(json.dumps(config))
    (models_path / '"><img src=x onerror=alert(1)>.gguf').write_bytes(b"x")
    (models_path / "<script>alert(1).yaml").write_text("- {")
    instance = Instance.objects.create(
        name=name, node=settings.NODE, state="failed", reason=HOSTILE, backend=HOSTILE[:60]
    )
    instance.events.create(by=HOSTILE, from_state="stopped", to_state="failed", why=HOSTILE)
    from monitor.views.log import runs

    log = runs(name)[0].path
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{HOSTILE}\n</div></pre><script>alert(2)</script>\n")
    for url in (
        "/models/",
        "/monitor/",
        "/",
        reverse("models:detail", args=[name]),
        reverse("monitor:detail", args=[name]),
        reverse("gallery:delete", args=[name]),
        reverse("monitor:log", args=[name]),
        "/models/?q=" + HOSTILE,
    ):
        answer = as_administrator.get(url)
        assert answer.status_code == 200, url
        if answer.headers["Content-Type"].startswith("text/html"):
            assert_harmless(answer)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_prompt_and_its_refusal_are_shown_as_text(as_administrator: Client, models_path: Path) -> None:
    (models_path / "m.yaml").write_text("name: m\nparameters: {model: m.gguf}\n")
    answer = as_administrator.post(reverse("monitor:prompt", args=["m"]), {"prompt": HOSTILE + "</textarea>"})
    assert answer.status_code == 409
    assert_harmless(answer)


# --- Names ------------------------------------------------------------------------------------------------------------

BAD_NAMES = [
    "../x",
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "x\x00y",
    "x\ny",
    "x" * 300,
    "é" * 200,
    "..\\x",
    "%2e%2e%2fx",
    "\u202egpj.x",
    "x\u200b",
    "._gallery_x",
    ".ingest",
    "C:\\x",
    "\u2024\u2024/x",
    "\ud800x",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    "view",
    [
        "models:detail",
        "models:load",
        "models:stop",
        "gallery:delete",
        "monitor:detail",
        "monitor:prompt",
        "monitor:log",
        "monitor:status",
    ],
)
def test_no_name_in_a_url_reaches_a_file_outside(
    as_administrator: Client, models_path: Path, name: str, view: str
) -> None:
    outside = models_path.parent / "x"
    outside.write_text("mine")
    (models_path.parent / "x.yaml").write_text("name: x\n")
    url = reverse(view, args=["NAME"]).replace("NAME", quoted(name))
    for answer in (as_administrator.get(url), as_administrator.post(url, {"prompt": "x"})):
        assert answer.status_code in {302, 303, 404, 405}
        assert b"mine" not in answer.content
    assert outside.read_text() == "mine"
    assert not Job.objects.exists()
    assert not Instance.objects.exists()


def quoted(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", BAD_NAMES[:-1])
def test_no_name_in_the_install_form_reaches_a_file_outside(
    as_installer: Client, models_path: Path, hostile_gallery: Gallery, name: str
) -> None:
    entry = hostile_entry(hostile_gallery)
    url = reverse("gallery:install", args=["x", entry.name])
    answer = as_installer.post(url, {"name": name})
    if name == "%2e%2e%2fx":
        # A name like any other: nothing decodes it once more.
        assert answer.status_code == 303
        return
    assert answer.status_code == 422, name
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "name",
    [
        "new\nline.gguf",
        "new\nline.yaml",
        "caf\udce9.gguf",
        "caf\udce9.yaml",
        "a\u2028b.gguf",
        "\u202egpj.gguf",
        "-rf",
        "a b",
        "a?b#c%d.gguf",
    ],
)
def test_no_name_of_a_file_in_the_folder_breaks_a_page(as_administrator: Client, models_path: Path, name: str) -> None:
    (models_path / name).write_bytes(b"backend: x\n")
    (models_path / "good.yaml").write_text("name: good\n")
    for url in ("/models/", "/", "/gallery/", "/monitor/"):
        assert as_administrator.get(url).status_code == 200
    assert "good" in as_administrator.get("/models/").content.decode()


# --- Numbers, query strings, methods ----------------------------------------------------------------------------------

HOSTILE_VALUES = [
    "-1",
    "0",
    "10" * 30,
    "NaN",
    "1e9",
    "٣",
    "²",
    "\x00",
    "%00",
    "'",
    "1;drop",
    "x" * 5000,
    "None",
    "[]",
    "2020-01-01T00:00:00",
    "9999-99-99T99:99:99Z",
    "0001-01-01T00:00:00+23:59",
]


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_no_value_in_a_query_breaks_a_page(as_administrator: Client, models_path: Path, value: str) -> None:
    gallery = Gallery.objects.create(name="x", url="https://x.example/", enabled=True)
    entry = hostile_entry(gallery)
    (models_path / "m.yaml").write_text("name: m\n")
    job = Job.objects.create(kind=Kind.INSTALL, subject="m", request={})
    pages = [
        "/",
        "/models/",
        "/gallery/",
        entry.get_absolute_url(),
        "/jobs/",
        "/jobs/?tab=record",
        job.get_absolute_url(),
        "/monitor/",
        "/monitor/m/",
        "/monitor/m/log/",
        "/models/m/",
        "/gallery/delete/m/",
    ]
    names = ("page", "since", "v", "tab", "sort", "q", "tag", "state", "kind", "by", "run", "installed", "gallery")
    for page in pages:
        for headers in ({}, {"HX-Request": "true"}):
            answer = as_administrator.get(page.split("?")[0], dict.fromkeys(names, value), headers=headers)
            assert answer.status_code in {200, 204, 302}, f"{page} {headers} {answer.status_code}"
            assert_harmless(answer)


def test_no_number_of_parameters_breaks_a_page(as_administrator: Client) -> None:
    for page in ("/", "/models/", "/gallery/", "/jobs/"):
        assert as_administrator.get(page + "?" + "&".join(f"tag=t{n}" for n in range(900))).status_code == 200
        answer = as_administrator.get(page + "?" + "&".join(f"tag=t{n}" for n in range(5000)))
        assert answer.status_code in {200, 400}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "BREW"])
def test_an_unusual_method_changes_nothing(as_administrator: Client, models_path: Path, method: str) -> None:
    (models_path / "x.yaml").write_text("name: x\n")
    for _, pattern in ALL:
        arguments = {name: sample(converter) for name, converter in pattern.pattern.converters.items()}
        name = "team:sign_out" if pattern.name == "sign_out" else name_of(pattern)
        answer = as_administrator.generic(method, reverse(name, kwargs=arguments))
        assert answer.status_code in {403, 404, 405, 410} or pattern.name == "sign_in"
    assert (models_path / "x.yaml").exists()
    assert not Job.objects.exists()
    assert not Instance.objects.exists()


# --- Where an answer sends a person -----------------------------------------------------------------------------------

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
        pages.append(re.sub(r'(value=")[A-Za-z0-9]{64}"|' + name, "", page))
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


# --- Django's admin ---------------------------------------------------------------------------------------------------


def test_the_admin_changes_nothing_of_the_consoles_work(as_administrator: Client) -> None:
    job = Job.objects.create(
        kind=Kind.INSTALL, subject="m", request={"url": "https://me:pass-word@x.example/"}, state="failed"
    )
    gallery = Gallery.objects.create(
        name="x", url="https://me:pass-word@x.example/i.yaml", mirrors=["https://me:pass-word@y.example/"]
    )
    instance = Instance.objects.create(name="m")
    for row in (job, gallery, instance):
        base = f"/django-admin/{row._meta.app_label}/{row._meta.model_name}/"
        assert as_administrator.get(base).status_code == 200
        page = as_administrator.get(f"{base}{row.pk}/change/")
        assert page.status_code == 200
        assert "pass-word" not in page.content.decode() + as_administrator.get(base).content.decode()
        for url in (f"{base}add/", f"{base}{row.pk}/change/", f"{base}{row.pk}/delete/"):
            assert as_administrator.post(url, {"post": "yes", "name": "changed"}).status_code == 403
        action = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        as_administrator.post(base, action)
        assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("role", ["viewer", "operator", "installer"])
def test_the_admin_shows_staff_only_what_they_hold_a_permission_for(role: str, request: pytest.FixtureRequest) -> None:
    person = request.getfixturevalue(role)
    client = signed_in(person)
    assert client.get("/django-admin/").status_code == 302
    person.is_staff = True
    person.save()
    for page in (
        "auth/user/",
        "auth/group/",
        "auth/user/add/",
        f"auth/user/{person.pk}/change/",
        "axes/accessattempt/",
    ):
        assert client.get(f"/django-admin/{page}").status_code == 403
        assert client.post(f"/django-admin/{page}", {"is_superuser": "on"}).status_code == 403
    person.refresh_from_db()
    assert not person.is_superuser


# --- The table of roles -----------------------------------------------------------------------------------------------


def test_a_view_asks_for_nothing_but_what_a_role_gives() -> None:
    from team.access import PUBLIC
    from team.roles import ADMINISTRATOR

    asked = {pattern.callback.access for _, pattern in ALL} - {PUBLIC, "signed in"}
    assert asked <= set(ADMINISTRATOR)


def test_the_documents_say_of_every_role_what_it_may_do() -> None:
    from team.roles import ROLES

    text = (Path(__file__).parents[2] / "docs" / "roles.md").read_text()
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]
    header, written = rows[0], {row[1].strip("`"): row[2:] for row in rows[2:]}
    assert header[2:] == list(ROLES)
    assert set(written) == set().union(*ROLES.values())
    for permission, marks in written.items():
        assert marks == ["yes" if permission in held else "–" for held in ROLES.values()], permission


def test_the_table_of_roles_names_permissions_that_exist() -> None:
    from team.roles import ADMINISTRATOR

    held = {f"{p.content_type.app_label}.{p.codename}" for p in Permission.objects.select_related("content_type")}
    assert set(ADMINISTRATOR) <= held


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "b.yaml",
        "._gallery_b.yaml",
        ".ingest",
        ".ingest/job/1.part",
        ".",
        "./",
        "..",
        "../x",
        "index.yaml",
        "link-out",
        "link-out/x",
        "sub/../b.yaml",
        "/etc/passwd",
        "./b.yaml",
        "b.yaml/",
        ".git/config",
    ],
)
def test_deleting_a_model_takes_nothing_that_is_not_its_own(tmp_path: Path, target: str) -> None:
    root, outside = tmp_path / "models", tmp_path / "outside"
    (root / ".ingest" / "job").mkdir(parents=True)
    (root / ".git").mkdir()
    outside.mkdir()
    (outside / "x").write_text("mine")
    (tmp_path / "x").write_text("mine")
    for name in (".ingest/job/1.part", ".git/config", "b.gguf", "index.yaml"):
        (root / name).write_text("mine")
    (root / "link-out").symlink_to(outside)
    (root / "b.yaml").write_text("name: b\nparameters: {model: b.gguf}\n")
    (root / "._gallery_b.yaml").write_text("name: b\nfiles: [{filename: b.gguf}]\n")
    (root / "a.yaml").write_text(json.dumps({"name": "a", "parameters": {"model": target}, "mmproj": target}))
    (root / "._gallery_a.yaml").write_text(
        json.dumps({"name": "a", "files": [{"filename": target}, {"filename": "b.yaml"}]})
    )
    before = set(tmp_path.rglob("*")) - {root / "a.yaml", root / "._gallery_a.yaml"}
    folder = ConfigFolder(root, frozenset({"index.yaml"}))
    delete_files(plan_deletion(folder, "a"), root)
    assert before == set(tmp_path.rglob("*")) - {root / "a.yaml"}


def test_a_hard_link_is_deleted_and_not_what_it_is_a_name_of(tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (tmp_path / "mine").write_text("mine")
    (root / "a.gguf").hardlink_to(tmp_path / "mine")
    (root / "a.yaml").write_text("name: a\nparameters: {model: a.gguf}\n")
    delete_files(plan_deletion(ConfigFolder(root), "a"), root)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_configuration_that_is_a_link_out_of_the_folder_is_not_read(
    models_path: Path, as_administrator: Client
) -> None:
    secret = models_path.parent / "secret.yaml"
    secret.write_text("name: stolen\ndescription: a secret of the inside\n")
    (models_path / "stolen.yaml").symlink_to(secret)
    assert inventory.config_folder().get("stolen") is None
    assert "a secret of the inside" not in as_administrator.get("/models/").content.decode()


def test_secrets_of_a_configuration_or_a_request_are_not_shown(as_administrator: Client, models_path: Path) -> None:
    config = {
        "name": "m",
        "hf_token": "pass-word",
        "proxy": {"apiKey": "pass-word", "x": [{"Authorization": "pass-word"}]},
        "options": ["hf_token:pass-word", "api_key=pass-word"],
        "url": "https://me:pass-word@x.example/",
    }
    (models_path / "m.yaml").write_text(json.dumps(config))
    (models_path / "n.yaml").write_text(json.dumps({"name": "n", "proxy": [{"api_key": "pass-word"}]}))
    job = Job.objects.create(
        kind=Kind.INSTALL, subject="m", request={"described": {"url": config["url"], "overrides": config}}
    )
    for url in ("/models/m/", "/models/", "/", job.get_absolute_url()):
        assert "pass-word" not in as_administrator.get(url).content.decode()
    assert secrets.masked({"tokens": 5, "options": ["use_jinja:true", "a:b"]}) == {
        "tokens": 5,
        "options": ["use_jinja:true", "a:b"],
    }


def test_the_key_that_signs_the_sessions_is_for_the_owner_alone(settings) -> None:
    assert stat.S_IMODE((settings.DATA / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE((settings.DATA / "db.sqlite3").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", [".ingest/other/state.tmpl", ".INGEST/x.tmpl", "../x.tmpl", "/x.tmpl", "x\x00.tmpl"])
def test_no_template_of_a_recipe_is_put_where_it_does_not_belong(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeName):
        places.of_text(tmp_path, name)


def test_a_gallery_that_fails_does_not_tell_its_password(settings) -> None:
    def refuse(uri: str, **_: Any) -> Document:
        raise NotFound("It is not there.")

    address = "https://me:pass-word@gallery.example/index.yaml?token=pass-word"
    with pytest.raises(SourceError) as raised:
        fetch_index(address, [address.replace("gallery", "mirror")], fetcher=refuse)
    assert "pass-word" not in str(raised.value)
    assert "mirror.example" in str(raised.value)


# --- Addresses --------------------------------------------------------------------------------------------------------


NOT_PUBLIC = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.1.1",
    "169.254.169.254",
    "100.64.1.1",
    "192.0.0.192",
    "198.18.0.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "168.63.129.16",
    "192.88.99.1",
    "192.31.196.1",
    "0x7f000001",
    "2130706433",
    "127.1",
    "0177.0.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:1:2::3",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "5f00::1",
    "3fff::1",
    "2620:4f:8000::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_address_that_is_not_public_passes_in_any_clothes(address: str) -> None:
    assert not addresses.is_public(address)
