"""Before a download Hugging Face is asked what its scan found; what it does not say is not taken for safe."""

import json

import pytest

from gallery.downloads import safety
from gallery.downloads.errors import UnsafeFiles
from gallery.downloads.safety import Verdict
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
from tests.fakes.http_server import Server

CLEAN = {"hasUnsafeFile": False, "clamAVInfectedFiles": [], "dangerousPickles": [], "scansDone": True}
PATH = "/api/models/o/r/scan"


def look(server: Server, *uris: str, seconds: float = 5) -> tuple[Verdict, ...]:
    endpoint = server.url("")
    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""))
    transport = Downloader(client, Resolver(Settings((endpoint,), "secret")))
    files = [FileSpec(f"file-{number}", "", uri) for number, uri in enumerate(uris)]
    return safety.look(files, lambda url: transport.fetch(url).body or b"", endpoint, seconds)


def test_a_clean_repository_is_safe_and_asked_once_with_the_token(server: Server) -> None:
    server.gives(PATH, json.dumps(CLEAN).encode())
    uris = ["hf://o/r/a", "huggingface://o/r@dev/sub/b", "hf.co/o/r/c", "https://huggingface.co/o/r/resolve/main/d",
            server.url("/o/r/resolve/main/e")]  # fmt: skip
    assert look(server, *uris) == (Verdict("o/r", "safe"),)
    assert [request.headers["authorization"] for request in server.asked(PATH)] == ["Bearer secret"]


def test_what_is_not_on_hugging_face_is_not_asked_about(server: Server) -> None:
    assert look(server, "https://example.org/o/r/resolve/main/a", "github:o/r/a", "file:///o/r", "ollama://m") == ()
    assert server.seen == []


@pytest.mark.parametrize(
    ("change", "files"),
    [
        ({"hasUnsafeFile": True}, ()),
        ({"hasUnsafeFile": True, "dangerousPickles": ["a.pkl"], "clamAVInfectedFiles": ["b.exe"]}, ("b.exe", "a.pkl")),
        # A verdict that contradicts itself is read as the worse one.
        ({"dangerousPickles": ["a.pkl"]}, ("a.pkl",)),
        ({"hasUnsafeFile": True, "scansDone": False}, ()),
        ({"hasUnsafeFile": True, "dangerousPickles": [{"path": "a.pkl"}, 7, None]}, ("a.pkl",)),
    ],
)
def test_a_repository_with_something_dangerous_is_unsafe(server: Server, change: dict, files: tuple[str, ...]) -> None:
    server.gives(PATH, json.dumps(CLEAN | change).encode())
    (verdict,) = look(server, "hf://o/r/a")
    assert (verdict.result, verdict.files) == ("unsafe", files)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 404}, "not to be had"),
        ({"status": 500}, "not to be had"),
        ({"body": b"<html>"}, "not that of a scan"),
        ({"body": b"[]"}, "not that of a scan"),
        ({"body": b"{}"}, "not that of a scan"),
        ({"body": json.dumps(CLEAN | {"scansDone": False}).encode()}, "not finished"),
        ({"body": json.dumps({"hasUnsafeFile": False}).encode()}, "not finished"),
    ],
    ids=["none", "a fault", "a page", "a list", "nothing", "not finished", "not said"],
)
def test_what_nobody_says_is_unknown(server: Server, answer: dict, why: str) -> None:
    server.gives(PATH, **answer)
    (verdict,) = look(server, "hf://o/r/a")
    assert verdict.result == "unknown"
    assert why in verdict.sentence
    safety.refuse([verdict], "block")


def test_one_that_does_not_answer_holds_nobody_up(server: Server) -> None:
    server.gives(PATH, silent=True)
    server.gives("/api/models/o/s/scan", json.dumps(CLEAN).encode())
    slow, clean = look(server, "hf://o/r/a", "hf://o/s/a", seconds=0.5)
    assert (slow.result, slow.why) == ("unknown", "there was no answer within 0.5 s")
    assert clean.result == "safe"


def test_the_policy_decides() -> None:
    verdicts = (Verdict("o/s", "safe"), Verdict("o/r", "unsafe", ("a.pkl",)))
    with pytest.raises(UnsafeFiles, match=r"o/r: a\.pkl") as caught:
        safety.refuse(verdicts, "block")
    assert (caught.value.cause, caught.value.retry) == ("unsafe", False)
    assert "LOCALAI_ADMIN_HF_SCAN" in caught.value.action
    safety.refuse(verdicts, "warn")
