"""Models of Ollama's registry: a tag means the weights in its manifest, and those for ever."""

import hashlib

import pytest

from gallery.downloads.errors import BadManifest, NotFound
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
from tests.fakes.http_server import Server
from tests.fakes.ollama_registry import publish

WEIGHTS = b"GGUF" + bytes(50_000)
DIGEST = f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"


def opened() -> Downloader:
    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""))
    resolver = Resolver(Settings(), client)
    return Downloader(client, resolver, resolver.expand)


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [("me/own", "me/own", "latest"), ("me/own:8b", "me/own", "8b"), ("me/deep/own:8b", "me/deep/own", "8b")],
)
def test_a_model_is_the_weights_of_its_manifest(server: Server, name: str, repository: str, tag: str) -> None:
    publish(server, repository, tag, WEIGHTS, "template", "params", "license")
    uri = f"ollama://{server.host}/{name}"
    transport = opened()
    (file,) = transport.expand([FileSpec("model.gguf", "", uri)])
    assert (file.filename, file.sha256, file.size) == ("model.gguf", DIGEST[7:], len(WEIGHTS))
    assert file.uri == f"{uri}@{DIGEST}"
    assert transport.read(file.uri, 0, 1 << 20) == transport.read(uri, 0, 1 << 20) == WEIGHTS
    asked = server.asked(f"/v2/{repository}/manifests/{tag}")
    assert len(asked) == 1
    assert asked[0].headers["accept"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_what_is_expanded_needs_no_manifest_any_more(server: Server) -> None:
    digest = publish(server, "me/own", "1", WEIGHTS)
    spec = FileSpec("f", "", f"ollama://{server.host}/me/own:1@{digest}")
    assert opened().read(spec.uri, 0, 4) == b"GGUF"
    assert opened().expand([spec])[0].sha256 == digest.removeprefix("sha256:")
    assert not server.asked("/v2/me/own/manifests/1")


def test_a_model_in_pieces_is_refused(server: Server) -> None:
    publish(server, "me/own", "1", WEIGHTS, "model")
    with pytest.raises(BadManifest, match="2 files of weights") as caught:
        opened().expand([FileSpec("f", "", f"ollama://{server.host}/me/own:1")])
    assert caught.value.action


def test_a_tag_that_is_not_there_is_not_found(server: Server) -> None:
    publish(server, "me/own", "1", WEIGHTS)
    with pytest.raises(NotFound, match="/v2/me/own/manifests/2"):
        opened().expand([FileSpec("f", "", f"ollama://{server.host}/me/own:2")])
