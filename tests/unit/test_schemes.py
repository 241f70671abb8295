"""Every kind of address that galleries use means one source, and nothing else is read."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gallery.downloads.errors import BadUri, NotFound, RefusedSource
from gallery.downloads.registries.references import parse
from gallery.downloads.schemes.resolver import SCHEMES, Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec
from localai_admin.lib.net import Client, Policy

HUB = "https://huggingface.co"
OLLAMA = "registry.ollama.ai"
DIGEST = "sha256:" + "0" * 64
RAW = "https://raw.githubusercontent.com"


def resolve(
    uri: str, *, hf_endpoints: Sequence[str] = (), hf_token: str = "", file_roots: Sequence[Path] = ()
) -> Source:
    return Resolver(Settings(tuple(hf_endpoints), hf_token, tuple(file_roots)))(uri)


@pytest.mark.parametrize(
    ("uri", "location", "filename"),
    [
        ("https://example.org/a/b.gguf", "https://example.org/a/b.gguf", "b.gguf"),
        (
            "https://example.org/b%20c.gguf?download=true#x",
            "https://example.org/b%20c.gguf?download=true#x",
            "b c.gguf",
        ),
        ("http://example.org/b", "http://example.org/b", "b"),
        ("  https://example.org/b\n", "https://example.org/b", "b"),
        ("github:o/r/p.yaml@master", f"{RAW}/o/r/master/p.yaml", "p.yaml"),
        ("github:o/r/a/b/p.yaml", f"{RAW}/o/r/main/a/b/p.yaml", "p.yaml"),
        ("github://o/r/p.yaml@v1/x", f"{RAW}/o/r/v1/x/p.yaml", "p.yaml"),
        ("huggingface://o/r/f.gguf", f"{HUB}/o/r/resolve/main/f.gguf", "f.gguf"),
        ("huggingface://o/r/sub/dir/f.gguf", f"{HUB}/o/r/resolve/main/sub/dir/f.gguf", "f.gguf"),
        ("huggingface://o/r@dev/sub/f.gguf", f"{HUB}/o/r/resolve/dev/sub/f.gguf", "f.gguf"),
        ("huggingface://o/r/sub/f.gguf@dev", f"{HUB}/o/r/resolve/dev/sub/f.gguf", "f.gguf"),
        ("huggingface://o/r/f.gguf@refs/pr/1", f"{HUB}/o/r/resolve/refs%2Fpr%2F1/f.gguf", "f.gguf"),
        ("huggingface://o/r/f g#1?.gguf", f"{HUB}/o/r/resolve/main/f%20g%231%3F.gguf", "f g#1?.gguf"),
        ("hf://o/r/f", f"{HUB}/o/r/resolve/main/f", "f"),
        ("hf.co/o/r/f", f"{HUB}/o/r/resolve/main/f", "f"),
    ],
)
def test_an_address_means_a_url(uri: str, location: str, filename: str) -> None:
    source = resolve(uri)
    assert (source.kind, source.location, source.filename) == ("http", location, filename)


@pytest.mark.parametrize("uri", ["huggingface://o/r/f", "https://huggingface.co/o/r/resolve/main/f"])
def test_the_hub_may_be_somewhere_else(uri: str) -> None:
    for endpoint in ("https://hub.example.org", "https://hub.example.org/", "hub.example.org"):
        assert resolve(uri, hf_endpoints=[endpoint]).location == "https://hub.example.org/o/r/resolve/main/f"


def test_of_several_hubs_the_others_are_further_sources() -> None:
    hubs = ["https://near.example.org", "far.example.org"]
    for uri in ("hf://o/r/f", f"{HUB}/o/r/resolve/main/f"):
        source = resolve(uri, hf_endpoints=hubs, hf_token="secret")
        assert source.location == "https://near.example.org/o/r/resolve/main/f"
        assert [other.location for other in source.others] == ["https://far.example.org/o/r/resolve/main/f"]
        assert [other.credentials for other in source.others] == [{"Authorization": "Bearer secret"}]
        assert "secret" not in repr(source)
    assert resolve("https://far.example.org/x", hf_endpoints=hubs).location == "https://far.example.org/x"
    assert resolve("https://example.org/x", hf_endpoints=hubs).others == ()


def test_the_token_is_for_the_hub_alone() -> None:
    asked = {"hf_token": "secret", "hf_endpoints": ["https://hub.example.org"]}
    for uri in ("hf://o/r/f", f"{HUB}/o/r/resolve/main/f", "https://hub.example.org/o/r/resolve/main/f"):
        assert resolve(uri, **asked).credentials == {"Authorization": "Bearer secret"}
    for uri in (
        "https://example.org/f",
        "https://huggingface.co.example.org/f",
        "https://hub.example.org:1/f",
        "github:o/r/f",
    ):
        assert resolve(uri, **asked).credentials == {}
    assert "secret" not in repr(resolve("hf://o/r/f", **asked))


@pytest.mark.parametrize(
    "uri",
    ["", "x", "/etc/passwd", "ftp://example.org/x", "javascript:alert(1)", "https://", "https:///x", "http://[broken/x",
     "github:o/r", "github:", "huggingface://o/r", "huggingface://o", "hf://", "file://host/x", "oci://a/b:1", "ollama://m"],
)  # fmt: skip
def test_an_address_that_means_nothing_is_named(uri: str) -> None:
    with pytest.raises(BadUri) as caught:
        resolve(uri, file_roots=[Path("/")])
    assert caught.value.action


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder that files may come from, beside one that they may not."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "a b.bin").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "shelf" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "shelf-2").mkdir()
    (tmp_path / "shelf-2" / "f").write_bytes(b"x")
    return tmp_path / "shelf"


@pytest.mark.parametrize("uri", ["file://{}/a b.bin", "file://localhost{}/a%20b.bin", "file://{}/../shelf/a b.bin"])
def test_a_file_below_an_allowed_folder_is_a_source(shelf: Path, uri: str) -> None:
    source = resolve(uri.format(shelf), file_roots=[shelf])
    assert (source.kind, source.location, source.filename) == ("file", str(shelf / "a b.bin"), "a b.bin")


@pytest.mark.parametrize(
    "uri",
    [
        "file://{}/../secret",
        "file://{}/link",
        "file://{}/%2e%2e/secret",
        "file://{}-2/f",
        "file:///etc/passwd",
        "file:///none",
    ],
)
def test_a_file_elsewhere_is_refused_whether_it_is_there_or_not(shelf: Path, uri: str) -> None:
    with pytest.raises(RefusedSource, match="none of the folders"):
        resolve(uri.format(shelf), file_roots=[shelf])


def test_a_folder_above_the_consoles_own_data_does_not_open_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "starter").mkdir(parents=True)
    (tmp_path / "data-2").mkdir()
    (tmp_path / "link").symlink_to(data / "secret_key")
    for place in ("data/secret_key", "data/starter/index.yaml", "data-2/x"):
        (tmp_path / place).write_text("x")

    def location(path: str, *roots: Path) -> str:
        return Resolver(Settings(file_roots=roots, private=data))(f"file://{tmp_path}/{path}").location

    for path in ("data/secret_key", "data/starter/index.yaml", "link", "data-2/../data/secret_key"):
        for root in (tmp_path, data, Path("/")):
            with pytest.raises(RefusedSource):
                location(path, root)
    assert location("data-2/x", tmp_path) == str(tmp_path / "data-2" / "x")
    # A folder inside of it is named for what is in there.
    assert location("data/starter/index.yaml", tmp_path, data / "starter") == str(data / "starter" / "index.yaml")


def test_without_an_allowed_folder_no_file_is_a_source(shelf: Path) -> None:
    with pytest.raises(RefusedSource):
        resolve(f"file://{shelf}/a b.bin")


@pytest.mark.parametrize("name", ["none", ""])
def test_a_file_that_is_not_there_is_not_found(shelf: Path, name: str) -> None:
    with pytest.raises(NotFound):
        resolve(f"file://{shelf}/{name}", file_roots=[shelf])


# --- Names in registries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "meaning"),
    [
        ("llama3", OLLAMA, f"{OLLAMA}/library/llama3:latest"),
        ("llama3:8b-Q4_K", OLLAMA, f"{OLLAMA}/library/llama3:8b-Q4_K"),
        ("Me/Own:1", OLLAMA, f"{OLLAMA}/Me/Own:1"),
        ("hub.example.org/me/own", OLLAMA, "hub.example.org/me/own:latest"),
        ("localhost:5000/own:1", OLLAMA, "localhost:5000/own:1"),
        ("[::1]:5000/o/r", OLLAMA, "[::1]:5000/o/r:latest"),
        ("alpine", "docker.io", "docker.io/library/alpine:latest"),
        ("docker.io/alpine:3", "docker.io", "docker.io/library/alpine:3"),
        ("o/r", "docker.io", "docker.io/o/r:latest"),
        ("ghcr.io/o/r:v1", "docker.io", "ghcr.io/o/r:v1"),
        (f"quay.io/o/r@{DIGEST}", "docker.io", f"quay.io/o/r@{DIGEST}"),
        (f"quay.io/o/r:v1@{DIGEST}", "docker.io", f"quay.io/o/r:v1@{DIGEST}"),
    ],
)
def test_a_name_in_a_registry_is_whole(text: str, host: str, meaning: str) -> None:
    assert str(parse(text, uri=text, default_host=host, any_case=True)) == meaning


def test_dockers_registry_answers_under_another_name() -> None:
    assert parse("alpine", uri="x", default_host="docker.io").api_host == "registry-1.docker.io"
    assert parse("ghcr.io/o/r", uri="x", default_host="docker.io").api_host == "ghcr.io"


@pytest.mark.parametrize(
    "uri",
    ["oci://", "oci:///r", "oci://ghcr.io/", "oci://ghcr.io/UPPER/case", "oci://ghcr.io/../x", "oci://ghcr.io/o/r:",
     "oci://ghcr.io/o/r?x=y", "oci://user@ghcr.io/o/r", "oci://ghcr.io/o/r@sha256:12", "oci://ghcr.io/o/r@md5:12",
     "oci://gh cr.io/o/r", "ollama://", "ollama://m:", "ollama://a b", "ollama://m@sha256:1", "quay.io/", "ghcr.io/-"],
)  # fmt: skip
def test_a_name_that_no_registry_has_is_named(uri: str) -> None:
    with closing(Client(Policy())) as client, pytest.raises(BadUri) as caught:
        Resolver(Settings(), client)(uri)
    assert caught.value.action


@pytest.mark.parametrize("uri", ["oci://ghcr.io/o/r", "ghcr.io/o/r:1", "quay.io/o/r", "docker.io/o/r", "ollama://m"])
def test_without_a_way_to_ask_no_registry_is_asked(uri: str) -> None:
    with pytest.raises(BadUri, match="in a registry"):
        resolve(uri)


def test_a_scheme_is_known_by_one_prefix_alone() -> None:
    prefixes = [prefix for scheme in SCHEMES for prefix in scheme.prefixes]
    assert len(prefixes) == len(set(prefixes))
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]


def test_files_of_other_schemes_are_what_they_are() -> None:
    files = (FileSpec("a", "", "https://example.org/a"), FileSpec("b", "1" * 64, "hf://o/r/b", size=5))
    assert Resolver().expand(files) == files
