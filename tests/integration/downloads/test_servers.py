"""What servers do wrong has a name, and leaves nothing wrong behind."""

import time
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.store import Ingest
from tests.fakes.downloads import BODY, fetch, install, spec
from tests.fakes.http_server import Server


@pytest.mark.parametrize(
    ("how", "kind", "retry"),
    [
        ({"status": 401}, errors.NeedsToken, False),
        ({"status": 403}, errors.Forbidden, False),
        ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, errors.NeedsToken, False),
        ({"status": 404}, errors.NotFound, False),
        ({"status": 410}, errors.NotFound, False),
        ({"status": 416}, errors.ServerFault, False),
        ({"status": 429}, errors.TooManyRequests, True),
        ({"status": 418}, errors.ServerFault, False),
        ({"status": 500}, errors.ServerFault, True),
        ({"status": 503}, errors.ServerFault, True),
        ({"status": 206}, errors.ServerFault, False),  # to a request without a range
        ({"silent": True}, errors.Network, True),
        ({"stall": 1000}, errors.Stalled, True),
        ({"cut": 1000}, errors.Network, True),
        ({"cut": 1000, "chunked": True}, errors.Network, True),
        ({"length": 400_000}, errors.Network, True),  # announces more than it has
        ({"length": 200_000}, errors.DigestMismatch, False),  # announces less
        ({"headers": {"Content-Encoding": "gzip"}}, errors.ServerFault, False),
        ({"content_type": "text/html; charset=utf-8"}, errors.ServerFault, False),  # an error page with 200
        ({"redirect": "/f"}, errors.Network, False),  # a circle
        ({"redirect": "http://127.0.0.2:1/f"}, errors.RefusedSource, False),  # a private address, not trusted
        ({"redirect": "http://example.com/f"}, errors.RefusedSource, False),  # without TLS
    ],
)
def test_each_fault_of_a_server_has_its_name(
    server: Server, models: Path, how: dict[str, object], kind: type[errors.DownloadError], retry: bool
) -> None:
    with pytest.raises(errors.DownloadError) as caught:
        install(models, spec(server.gives("/f", BODY, **how)))
    assert type(caught.value) is kind
    assert caught.value.retry is retry
    assert caught.value.cause
    assert caught.value.action.endswith(".")
    assert str(caught.value).endswith(".")
    assert not (models / "model.gguf").exists()


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("99999999", 3600), ("nonsense", None), ("", None)])
def test_the_wait_that_a_server_asks_for_is_known(
    server: Server, models: Path, said: str, seconds: float | None
) -> None:
    with pytest.raises(errors.TooManyRequests) as caught:
        install(models, spec(server.gives("/f", BODY, status=429, headers={"Retry-After": said})))
    assert caught.value.retry_after == seconds


def test_a_date_to_wait_for_becomes_seconds(server: Server, models: Path) -> None:
    headers = {"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))}
    with pytest.raises(errors.TooManyRequests) as caught:
        install(models, spec(server.gives("/f", BODY, status=429, headers=headers)))
    assert 90 < (caught.value.retry_after or 0) <= 100


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(server: Server, other: Server, models: Path) -> None:
    other.gives("/blob", BODY)
    server.gives("/o/r/resolve/main/f.gguf", redirect=other.url("/blob"))
    ingest = Ingest(models, "job-1")
    fetch(ingest, spec("huggingface://o/r/f.gguf"), hf_endpoints=[server.url("")], hf_token="secret")
    assert {request.headers.get("authorization") for request in server.seen} == {"Bearer secret"}
    assert {request.headers.get("authorization") for request in other.seen} == {None}


def test_a_missing_file_is_noticed_before_another_is_downloaded(server: Server, models: Path) -> None:
    with pytest.raises(errors.NotFound):
        install(models, spec(server.gives("/1", BODY), BODY, "1"), spec(server.url("/gone"), BODY, "2"))
    assert server.asked("/1") == []
