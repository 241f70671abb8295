"""Names in registries become files: against Debian's registry, with and without signing in."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gallery.downloads.errors import BadManifest, DownloadError, NeedsToken, NotFound, RefusedSource, UnsafeName
from gallery.downloads.registries import manifests
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy, Timeouts
from tests.fakes import registry, token_server
from tests.fakes.http_server import Server
from tests.fakes.http_server import running as web
from tests.fakes.registry import Registry, digest_of, manifest, packed

pytestmark = pytest.mark.registry

WEIGHTS = b"weights of a model " * 1000
SECRET = {"ignored.example.org": "a:b"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def opened(secrets: Mapping[str, str] | None = None, *, trusted: tuple[str, ...] = ("127.0.0.1",)) -> Downloader:
    client = Client(Policy(trusted_hosts=trusted, proxy=""), Timeouts(connect=3, header=5, stall=5))
    resolver = Resolver(Settings(), client, secrets)
    return Downloader(client, resolver, resolver.expand)


def whole(transport: Downloader, uri: str) -> bytes:
    return transport.read(uri, 0, 1 << 20)


def spec(hub: Registry, name: str, filename: str = "model.gguf", sha256: str = "") -> FileSpec:
    return FileSpec(filename, sha256, f"oci://{hub.host}/{name}")


# --- Artifacts --------------------------------------------------------------------------------------------------------


def test_an_artifact_of_one_file_is_that_file_with_digest_and_size(hub: Registry) -> None:
    hub.push_artifact("one/file", {"weights.gguf": WEIGHTS}, "v1")
    transport = opened()
    (file,) = transport.expand([spec(hub, "one/file:v1")])
    assert (file.filename, file.size, file.unpack) == ("model.gguf", len(WEIGHTS), "")
    assert file.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert file.uri == f"oci://{hub.host}/one/file:v1@sha256:{file.sha256}#blob"
    assert whole(transport, file.uri) == WEIGHTS
    assert whole(transport, f"oci://{hub.host}/one/file:v1") == WEIGHTS


def test_an_expanded_address_means_the_same_after_the_tag_has_moved_and_after_a_restart(hub: Registry) -> None:
    hub.push_artifact("moved/file", {"f": b"old"})
    (file,) = opened().expand([spec(hub, "moved/file")])
    hub.push_artifact("moved/file", {"f": b"new"})
    transport = opened()
    assert transport.expand([file]) == (file,)
    assert whole(transport, file.uri) == b"old"
    assert whole(transport, f"oci://{hub.host}/moved/file") == b"new"


def test_a_blob_is_given_in_pieces(hub: Registry) -> None:
    hub.push_artifact("ranged/file", {"f": WEIGHTS})
    transport = opened()
    (file,) = transport.expand([spec(hub, "ranged/file")])
    assert transport.size(file.uri) == len(WEIGHTS)
    with transport.open(file.uri) as stream:
        validator = stream.validator
    with transport.open(file.uri, 5000, validator) as stream:
        assert (stream.offset, stream.total) == (5000, len(WEIGHTS))


@pytest.mark.parametrize(
    ("filename", "places"),
    [
        # The entry names one of the files: the others are beside it.
        ("llava/b.gguf", {"llava/a.gguf", "llava/b.gguf", "llava/sub/c.json"}),
        # It names none of them: they go into a folder of that name.
        ("llava", {"llava/a.gguf", "llava/b.gguf", "llava/sub/c.json"}),
    ],
)
def test_an_artifact_of_several_files_becomes_several_files(hub: Registry, filename: str, places: set[str]) -> None:
    hub.push_artifact("several/files", {"a.gguf": b"a", "b.gguf": b"bb", "sub/c.json": b"ccc"})
    transport = opened()
    files = transport.expand([spec(hub, "several/files", filename), FileSpec("x", "", "https://example.org/x")])
    assert {file.filename for file in files} == places | {"x"}
    assert [file.size for file in files] == [1, 2, 3, None]
    assert whole(transport, files[1].uri) == b"bb"


def test_several_files_are_not_one_source(hub: Registry) -> None:
    hub.push_artifact("several/others", {"a": b"a", "b": b"b"})
    with pytest.raises(DownloadError, match="not one file but several") as caught:
        whole(opened(), f"oci://{hub.host}/several/others")
    assert caught.value.action


@pytest.mark.parametrize("title", ["../out", "/etc/passwd", "a/../../b", "a\nb"])
def test_a_file_of_an_artifact_that_would_leave_its_folder_is_refused(hub: Registry, title: str) -> None:
    hub.push_artifact("hostile/names", {title: b"x", "fine": b"y"})
    with pytest.raises(UnsafeName):
        opened().expand([spec(hub, "hostile/names", "model")])


def test_a_digest_of_the_entry_must_be_the_registrys(hub: Registry) -> None:
    hub.push_artifact("wrong/digest", {"f": WEIGHTS})
    right = hashlib.sha256(WEIGHTS).hexdigest()
    assert opened().expand([spec(hub, "wrong/digest", sha256=right)])[0].sha256 == right
    with pytest.raises(BadManifest, match="do not mean the same") as caught:
        opened().expand([spec(hub, "wrong/digest", sha256="0" * 64)])
    assert right in str(caught.value)


def test_a_manifest_may_be_named_by_its_digest(hub: Registry) -> None:
    digest = hub.push_artifact("by/digest", {"f": b"this"})
    hub.push_artifact("by/digest", {"f": b"that"})
    (file,) = opened().expand([spec(hub, f"by/digest@{digest}")])
    assert whole(opened(), file.uri) == b"this"


def test_what_is_not_there_is_not_found(hub: Registry) -> None:
    with pytest.raises(NotFound, match=hub.host):
        opened().expand([spec(hub, "nothing/here")])


# --- Images -----------------------------------------------------------------------------------------------------------


def test_the_layers_of_an_image_are_archives_for_one_folder(hub: Registry) -> None:
    layers = [packed({"a": b"1"}), packed({"b": b"2"})]
    hub.push_image("an/image", layers)
    files = opened().expand([spec(hub, "an/image", "mine")])
    assert [(file.filename, file.unpack) for file in files] == [
        ("mine.layer-1.tar", "mine"),
        ("mine.layer-2.tar", "mine"),
    ]
    assert [whole(opened(), file.uri) for file in files] == layers


def test_of_an_index_this_machines_image_is_taken(hub: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    choices, layers = [], {}
    for machine in ("arm64", "amd64"):
        layer = packed({machine: b"1"})
        layers[machine] = hashlib.sha256(layer).hexdigest()
        digest = hub.push_image("many/machines", [layer], machine)
        size = hub.size_of("many/machines", digest)
        platform = {"os": "linux", "architecture": machine}
        choices.append({"mediaType": manifests.MANIFESTS[0], "digest": digest, "size": size, "platform": platform})
    hub.tag("many/machines", "all", {"schemaVersion": 2, "mediaType": manifests.INDEXES[0], "manifests": choices})
    found = {}
    for machine in ("aarch64", "x86_64"):
        monkeypatch.setattr(manifests.platform, "machine", lambda machine=machine: machine)
        found[machine] = opened().expand([spec(hub, "many/machines:all", "m")])[0].sha256
    assert found == {"aarch64": layers["arm64"], "x86_64": layers["amd64"]}
    monkeypatch.setattr(manifests.platform, "machine", lambda: "sparc")
    with pytest.raises(BadManifest, match=r"nothing for this machine \(linux/sparc\).*linux/arm64, linux/amd64"):
        opened().expand([spec(hub, "many/machines:all", "m")])


def test_an_image_compressed_by_zstd_is_refused_by_name(hub: Registry) -> None:
    hub.push_image("zstd/image", [b"\x28\xb5\x2f\xfd..."], kind="tar+zstd")
    with pytest.raises(BadManifest, match="compressed by zstd") as caught:
        opened().expand([spec(hub, "zstd/image", "m")])
    assert "gzip" in caught.value.action


def test_a_configuration_that_does_not_fit_the_layers_is_refused(hub: Registry) -> None:
    layer = hub.push("odd/image", packed({"a": b"1"})) | {"mediaType": f"{registry.OCI}layer.v1.tar+gzip"}
    config = hub.push("odd/image", b'{"rootfs": {"diff_ids": []}}') | {"mediaType": f"{registry.OCI}config.v1+json"}
    hub.tag("odd/image", "latest", manifest(config, [layer]))
    with pytest.raises(BadManifest, match="does not fit its layers"):
        opened().expand([spec(hub, "odd/image", "m")])


# --- Who asks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a user and a password."""
    folder = tmp_path_factory.mktemp("guarded")
    with registry.running(folder, registry.htpasswd(folder)) as running:
        running.session.auth = (registry.USER, registry.PASSWORD)
        running.push_artifact("of/members", {"f": WEIGHTS})
        yield running


def test_a_registry_with_a_password_gives_to_who_has_it(guarded: Registry) -> None:
    transport = opened({guarded.host: f"{registry.USER}:{registry.PASSWORD}"})
    (file,) = transport.expand([spec(guarded, "of/members")])
    assert whole(transport, file.uri) == WEIGHTS
    # After a restart nothing was asked of the registry yet.
    assert whole(opened({guarded.host: f"{registry.USER}:{registry.PASSWORD}"}), file.uri) == WEIGHTS


@pytest.mark.parametrize("secrets", [{}, {"127.0.0.1:1": "a:b"}], ids=["none", "of another host"])
def test_a_registry_with_a_password_says_so_to_others(guarded: Registry, secrets: dict[str, str]) -> None:
    with pytest.raises(NeedsToken, match="without signing in") as caught:
        opened(secrets).expand([spec(guarded, "of/members")])
    assert "LOCALAI_ADMIN_REGISTRY_AUTH" in caught.value.action
    assert guarded.host in caught.value.action


def test_a_wrong_password_is_said_without_it(guarded: Registry) -> None:
    with pytest.raises(NeedsToken, match="the account that is set") as caught:
        opened({guarded.host: f"{registry.USER}:wrong-secret"}).expand([spec(guarded, "of/members")])
    assert "wrong-secret" not in f"{caught.value} {caught.value.action}"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[token_server.TokenServer]:
    with token_server.running(tmp_path / "tokens") as server:
        yield server


@pytest.fixture
def ticketed(tmp_path: Path, tokens: token_server.TokenServer) -> Iterator[Registry]:
    """A registry that sends everybody to a token server first."""
    with registry.running(tmp_path / "registry", tokens.configuration()) as running:
        for name in ("public/model", "private/model"):
            access = [{"type": "repository", "name": name, "actions": ["pull", "push"]}]
            running.session.headers["Authorization"] = f"Bearer {tokens.token(access)}"
            running.push_artifact(name, {"f": WEIGHTS})
        yield running


def test_a_token_is_fetched_once_for_reading_one_repository(
    ticketed: Registry, tokens: token_server.TokenServer
) -> None:
    transport = opened()
    (file,) = transport.expand([spec(ticketed, "public/model")])
    assert whole(transport, file.uri) == whole(transport, file.uri) == WEIGHTS
    assert tokens.asked == [{"service": token_server.SERVICE, "scope": "repository:public/model:pull"}]
    assert tokens.who == [None]


def test_a_token_that_has_ended_is_followed_by_another(ticketed: Registry, tokens: token_server.TokenServer) -> None:
    tokens.seconds = 0.001
    transport = opened()
    (file,) = transport.expand([spec(ticketed, "public/model")])
    assert whole(transport, file.uri) == WEIGHTS
    assert len(tokens.asked) > 1


def test_an_account_gets_a_token_for_what_is_private(ticketed: Registry, tokens: token_server.TokenServer) -> None:
    secrets = {ticketed.host: f"{registry.USER}:{registry.PASSWORD}"}
    (file,) = opened(secrets).expand([spec(ticketed, "private/model")])
    assert whole(opened(secrets), file.uri) == WEIGHTS
    assert set(tokens.who) == {registry.basic()}
    with pytest.raises(NeedsToken, match="without signing in"):
        opened().expand([spec(ticketed, "private/model")])


def test_a_token_can_be_the_secret_itself(ticketed: Registry, tokens: token_server.TokenServer) -> None:
    own = tokens.token([{"type": "repository", "name": "private/model", "actions": ["pull"]}])
    (file,) = opened({ticketed.host: own}).expand([spec(ticketed, "private/model")])
    assert whole(opened({ticketed.host: own}), file.uri) == WEIGHTS
    assert tokens.asked == []


# --- Registries that cannot be trusted --------------------------------------------------------------------------------


def test_the_token_server_must_be_on_the_public_network_too(server: Server) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="https://10.0.0.1/token",service="x"'}
    server.gives("/v2/o/r/manifests/latest", status=401, headers=challenge)
    with pytest.raises(RefusedSource, match=r"10\.0\.0\.1"):
        opened().expand([FileSpec("f", "", f"oci://{server.host}/o/r")])


def test_a_token_is_not_shown_to_where_a_blob_is(server: Server) -> None:
    with web() as store:
        data = b"in a store"
        layer = {"digest": digest_of(data), "size": len(data), "annotations": {registry.TITLE: "f"}}
        challenge = {"WWW-Authenticate": f'Bearer realm="{server.url("/token")}",service="x"'}
        server.gives("/token", b'{"token": "of-the-registry"}')
        manifest = json.dumps({"schemaVersion": 2, "layers": [layer]}).encode()
        server.gives("/v2/o/r/manifests/latest", manifest, statuses=[401], headers=challenge)
        path = f"/v2/o/r/blobs/{digest_of(data)}"
        server.gives(path, redirect=store.url("/blob"))
        store.gives("/blob", data)
        transport = opened()
        (file,) = transport.expand([FileSpec("f", "", f"oci://{server.host}/o/r")])
        assert whole(transport, file.uri) == data
        assert server.asked(path)[-1].headers["authorization"] == "Bearer of-the-registry"
        assert "authorization" not in store.asked("/blob")[-1].headers


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "no manifest"),
        (b'{"schemaVersion": 1}', "does not know"),
        (b'{"schemaVersion": 2, "layers": [{"digest": "md5:1", "size": 1}]}', "no digest of SHA-256"),
        (b'{"schemaVersion": 2, "layers": [{"digest": "sha256:' + b"0" * 64 + b'", "size": -1}]}', "no size"),
        (b'{"schemaVersion": 2, "layers": []}', "neither an image nor an artifact"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=["a page", "a list", "an old one", "another digest", "a negative size", "nothing in it", "too deep"],
)
def test_a_manifest_that_is_none_is_refused(server: Server, body: bytes, why: str) -> None:
    server.gives("/v2/o/r/manifests/latest", body)
    with pytest.raises(BadManifest, match=why) as caught:
        opened().expand([FileSpec("f", "", f"oci://{server.host}/o/r")])
    assert server.host in str(caught.value)
    assert caught.value.action


def test_a_manifest_is_never_larger_than_four_mebibytes(server: Server) -> None:
    server.gives("/v2/o/r/manifests/latest", b" " * (manifests.MAX_BYTES + 1))
    with pytest.raises(DownloadError, match="larger than"):
        opened().expand([FileSpec("f", "", f"oci://{server.host}/o/r")])


def test_a_manifest_with_another_digest_than_the_reference_is_refused(server: Server) -> None:
    wanted = "sha256:" + "0" * 64
    server.gives(f"/v2/o/r/manifests/{wanted}", b'{"schemaVersion": 2, "layers": []}')
    with pytest.raises(BadManifest, match=wanted):
        opened().expand([FileSpec("f", "", f"oci://{server.host}/o/r@{wanted}")])


def test_a_host_that_is_not_trusted_is_not_spoken_to_without_tls(server: Server) -> None:
    with pytest.raises(RefusedSource):
        opened(trusted=()).expand([FileSpec("f", "", f"oci://{server.host}/o/r")])
    assert server.seen == []
