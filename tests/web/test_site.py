"""Headers, errors, health and metrics of the whole site."""

import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from localai_admin import telemetry


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/sign-in/", "/healthz", "/nowhere/", "/django-admin/login/"])
def test_every_answer_carries_the_security_headers(path: str) -> None:
    headers = Client().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_a_page_that_is_not_there_says_what_to_do_and_has_an_id(as_viewer: Client) -> None:
    answer = as_viewer.get("/nowhere/")
    text = answer.content.decode()
    assert answer.status_code == 404
    assert "There is nothing here" in text
    assert re.search(r"404 · [0-9a-f]{12}", text)


def test_a_form_without_its_token_is_refused(viewer) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.post("/sign-out/")
    assert answer.status_code == 403
    assert "too old" in answer.content.decode()


@pytest.mark.django_db
def test_a_console_that_works_is_healthy_and_ready() -> None:
    assert Client().get("/healthz").content == b"OK"
    assert Client().get("/readyz").json() == {"status": "ready"}


@pytest.mark.django_db
def test_a_console_without_its_database_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO django_migrations_gone")
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "starting"


def series(name: str) -> dict[str, float]:
    lines = telemetry.scrape().decode().splitlines()
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line.startswith(name))}


def test_a_call_is_measured_by_route_and_status_class_never_by_path(as_viewer: Client) -> None:
    before = series("api_call_count")
    as_viewer.get("/models/one-of-a-kind-name/")
    as_viewer.get("/nowhere/secret-path/")
    new = {key for key, value in series("api_call_count").items() if value > before.get(key, 0)}
    assert any('path="/models/<path:name>/"' in key and 'status="4xx"' in key and 'method="GET"' in key for key in new)
    assert any('path="(no route)"' in key for key in new)
    assert not any("secret-path" in key or "one-of-a-kind" in key for key in new)


def test_seconds_fall_into_buckets_made_for_seconds(as_viewer: Client) -> None:
    as_viewer.get("/healthz")
    bounds = {re.search(r'le="([^"]+)"', key)[1] for key in series("api_call_bucket") if "healthz" in key}
    assert {"0.005", "0.1", "1.0", "30.0", "+Inf"} <= bounds


def test_an_unknown_method_does_not_make_a_new_series() -> None:
    telemetry.observe_api_call("BREW", "x", 200, 0.1)
    assert any('method="OTHER"' in key for key in series("api_call_count"))
    assert not any("BREW" in key for key in series("api_call_count"))


@pytest.mark.django_db
def test_metrics_are_for_named_networks_and_superusers(as_administrator: Client, as_viewer: Client) -> None:
    assert Client(REMOTE_ADDR="127.0.0.1").get("/metrics").status_code == 200
    assert Client(REMOTE_ADDR="203.0.113.5").get("/metrics").status_code == 403
    assert (
        Client(REMOTE_ADDR="127.0.0.1").get("/metrics", headers={"X-Forwarded-For": "203.0.113.5"}).status_code == 403
    )
    assert as_viewer.get("/metrics", REMOTE_ADDR="203.0.113.5").status_code == 403
    body = as_administrator.get("/metrics", REMOTE_ADDR="203.0.113.5").content.decode()
    assert "api_call_bucket" in body
    assert "django_http_requests" in body


@pytest.mark.django_db
def test_metrics_can_be_switched_off(settings) -> None:
    settings.METRICS_ENABLED = False
    assert Client().get("/metrics").status_code == 404


def test_shutting_down_writes_what_was_measured_last(tmp_path: Path) -> None:
    pipeline = telemetry.Pipeline(tmp_path)
    pipeline.api_call.record(0.2, {"method": "GET", "path": "/last/", "status": "2xx"})
    pipeline.shutdown()
    pipeline.shutdown()
    [written] = tmp_path.glob("otel_*.prom")
    assert written.read_text().count("api_call_count{") == 1
    assert 'path="/last/"' in written.read_text()
