"""Passwords, tokens and headers go to whom they belong, and stand in no page, log, row or error that others see."""

import logging
from pathlib import Path

import pytest
from django.test import Client

from gallery.downloads.errors import BadUri
from gallery.models import Gallery, Job, JobFile, Plan
from gallery.services import applying, installs, plans, running
from gallery.services.transport import resolver
from localai_admin.lib.net import shown
from localai_admin.logs import without_secrets
from models import secrets
from tests.conftest import signed_in
from tests.fakes import http_server

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD, TOKEN, HEADER, HUB, ACCOUNT = "pass-w0rd-1", "t0ken-2", "head3r-3", "hf_hub4token4", "acc0unt-5"
SECRETS = (PASSWORD, TOKEN, HEADER, HUB, ACCOUNT)


@pytest.fixture
def server(settings):
    with http_server.running() as server:
        settings.TRUSTED_HOSTS, settings.ALLOW_HTTP = [server.host], True
        settings.HF_TOKEN, settings.REGISTRY_AUTH = HUB, {server.host: f"robot:{ACCOUNT}"}
        yield server


@pytest.fixture
def described(server: http_server.Server) -> dict:
    """An entry whose addresses hold what should not be told, at a server that answers with errors."""

    def at(path: str) -> str:
        return f"http://ada:{PASSWORD}@{server.host}{path}?token={TOKEN}&download=true"

    server.gives("/there.gguf", b"bytes")
    return {
        "name": "m",
        "overrides": {"parameters": {"model": "there.gguf"}, "api_key": TOKEN},
        "files": [{"filename": "there.gguf", "uri": at("/there.gguf")}, {"filename": "f.gguf", "uri": at("/missing")}],
    }


def run(job: Job) -> None:
    running.run(job.pk, installs.run_install)


def assert_untold(text: str, where: str) -> None:
    for secret in SECRETS:
        assert secret not in text, f"{secret} is told by {where}"


def test_what_an_address_holds_is_in_no_page_log_or_error(
    as_administrator: Client, viewer, models_path: Path, described: dict, server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Gallery.objects.create(
        name="private", url=server.url("/index.yaml"), headers={"X-Key": HEADER}, source=Gallery.CONSOLE
    )
    plan = plans.request_plan({"name": "m", "described": described}, None)
    plans.make_plan(plan.pk)
    job = installs.request_apply(described, "", None)
    run(job)
    plan.refresh_from_db()
    job.refresh_from_db()
    assert job.has_failed
    assert plan.state == Plan.READY
    pages = [plan.get_absolute_url(), job.get_absolute_url(), "/jobs/", "/jobs/?tab=attention", "/", "/disk/",
             "/gallery/galleries/", f"/gallery/galleries/{Gallery.objects.get().pk}/", "/strip/", "/monitor/",
             f"/django-admin/gallery/job/{job.pk}/change/", "/django-admin/gallery/job/",
             f"/django-admin/gallery/gallery/{Gallery.objects.get().pk}/change/"]  # fmt: skip
    for client in (as_administrator, signed_in(viewer)):
        for page in pages:
            assert_untold(client.get(page, follow=True).content.decode(), page)
            assert_untold(client.get(page, headers={"HX-Request": "true"}).content.decode(), f"a part of {page}")
    for row in JobFile.objects.all():
        assert_untold(row.uri, "a file's row")
    assert_untold(job.error + job.action + plan.error + str(plan.data) + str(list(job.events.values())), "a row")
    assert_untold(without_secrets(caplog.text), "the log")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://ada:pass-w0rd-1@x.example/a?token=t0ken-2#f", "https://x.example/a"),
        ("HTTPS://ada:pass-w0rd-1@x.example/a", "https://x.example/a"),
        ("oci://ada:pass-w0rd-1@x.example/a:b", "oci://x.example/a:b"),
        ("oci://x.example/a:b@sha256:" + "0" * 64 + "#blob", "oci://x.example/a:b@sha256:" + "0" * 64 + "#blob"),
        ("ollama://me/model:8b@sha256:" + "0" * 64, "ollama://me/model:8b@sha256:" + "0" * 64),
        ("ollama://gemma:2b", "ollama://gemma:2b"),
        ("ollama://gemma:2b@sha256:" + "0" * 64, "ollama://gemma:2b@sha256:" + "0" * 64),
        ("huggingface://o/r/f.gguf@main", "huggingface://o/r/f.gguf@main"),
        ("github:o/r/f.yaml@main", "github:o/r/f.yaml@main"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(address: str, told: str) -> None:
    assert shown(address) == told


@pytest.mark.parametrize(
    "address",
    [f"https://ada:{PASSWORD}@", f"oci://ada:{PASSWORD}@x.example/a", f"ftp://ada:{PASSWORD}@x.example/a",
     f"ollama://ada:{PASSWORD}@x.example/a", f"hf://ada:{PASSWORD}@x", f"https://ada:{PASSWORD}@[::1/x"],
)  # fmt: skip
def test_an_address_that_is_refused_is_named_without_its_password(as_installer: Client, address: str) -> None:
    with pytest.raises(BadUri) as refused:
        resolver()(address)
    assert PASSWORD not in str(refused.value) + refused.value.action
    answer = as_installer.post("/import/", {"address": address})
    assert answer.status_code == 422
    # What was typed is kept in its field, and nowhere else.
    assert answer.content.decode().count(PASSWORD) <= 1


def test_an_item_of_a_list_is_named_without_its_password(as_installer: Client, models_path: Path, caplog) -> None:
    item = {"url": f"https://ada:{PASSWORD}@127.0.0.1/x?token={TOKEN}"}
    (outcome,) = applying.apply_items([item], None, 1)
    assert outcome.is_refused
    assert_untold(outcome.name + outcome.sentence, "the outcome")


@pytest.mark.parametrize("key", ["token", "api_key", "X-Amz-Signature", "sig", "access_token", "password", "Key"])
def test_what_a_query_calls_secret_is_masked(key: str) -> None:
    masked = secrets.masked({"files": [{"uri": f"https://x.example/a?download=true&{key}={TOKEN}&x=1"}]})
    assert TOKEN not in str(masked)
    assert "download=true" in str(masked)
    assert "x=1" in str(masked)
