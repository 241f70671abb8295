"""Every kind of address that galleries use means one source, and nothing else is read."""

from pathlib import Path

import pytest

from gallery.downloads.errors import BadUri, NotFound, RefusedSource
from gallery.downloads.uris import resolve

HUB = "https://huggingface.co"
RAW = "https://raw.githubusercontent.com"


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
        assert resolve(uri, hf_endpoint=endpoint).location == "https://hub.example.org/o/r/resolve/main/f"


def test_the_token_is_for_the_hub_alone() -> None:
    asked = {"hf_token": "secret", "hf_endpoint": "https://hub.example.org"}
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


def test_without_an_allowed_folder_no_file_is_a_source(shelf: Path) -> None:
    with pytest.raises(RefusedSource):
        resolve(f"file://{shelf}/a b.bin")


@pytest.mark.parametrize("name", ["none", ""])
def test_a_file_that_is_not_there_is_not_found(shelf: Path, name: str) -> None:
    with pytest.raises(NotFound):
        resolve(f"file://{shelf}/{name}", file_roots=[shelf])
