"""A gallery's index is read as people have written it, and taken from the first source that gives one."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from gallery.catalog.entries import entry_from, parse_index, parse_size
from gallery.catalog.errors import CatalogError, SourceError
from gallery.catalog.parse_child import REFUSED
from gallery.catalog.parsing import parse
from gallery.catalog.recipes import build, parse_recipe
from gallery.catalog.sources import Known, fetch_index
from gallery.catalog.summaries import summary_of
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
from tests.fakes.http_server import Server
from tests.fakes.real_gallery import real_index

INDEX = (Path(__file__).parent.parent / "fixtures/gallery/index.yaml").read_bytes()
ROOT = Path(__file__).parent.parent.parent
DIGEST = sha256(INDEX).hexdigest()


def fetcher() -> Downloader:
    return Downloader(Client(Policy(trusted_hosts=["127.0.0.1"], proxy="")), Resolver())


def test_every_entry_with_a_name_is_kept_in_order() -> None:
    index = parse_index(INDEX)
    assert [entry.name for entry in index.entries] == ["made-1b-q4", "made-1b:q8", "only-overrides", "inline", "7"]


def test_what_is_left_out_is_named_with_its_place() -> None:
    skipped = dict(parse_index(INDEX).skipped)
    assert list(skipped) == [5, 6, 7, 8, 9]
    assert "made-1b-q4" in skipped[5]
    assert all(reason.endswith(".") for reason in skipped.values())


def test_an_entry_is_read_in_all_its_parts() -> None:
    entry = parse_index(INDEX).entries[0]
    assert entry.summary == "Made 1B is a small model that answers questions."
    assert (entry.license, entry.backend, entry.size) == ("apache-2.0", "llama-cpp", 1_500_000_000)
    assert entry.tags == ("llm", "gguf", "2026-01-01")
    assert entry.usecases == ("chat", "completion")
    assert entry.urls == ("https://example.org/made/one",)  # and no javascript:
    assert entry.variants == ("made-1b:q8",)
    assert entry.overrides["parameters"] == {"model": "made/one.gguf", "temperature": 0.1, "min_p": 0}
    assert entry.files[0].sha256 == "0" * 62 + "aa"
    assert entry.files[0].uri == "huggingface://made/one/one.gguf"


def test_a_merged_entry_has_what_it_merges_and_what_it_says_itself() -> None:
    entry = parse_index(INDEX).entries[1]
    assert (entry.license, entry.tags, entry.variants) == ("apache-2.0", (), ())
    assert entry.overrides == {"backend": "made-cpp"}
    assert entry.raw["Base Model"] == "nobody reads this key"


def test_an_entry_can_be_read_again_from_its_raw_data() -> None:
    for entry in parse_index(INDEX).entries:
        assert entry_from(entry.raw) == entry


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "nothing"),
        (b"# only a comment\n", "nothing"),
        (b"a: 1", "is a map"),
        (b"hello", "is a text"),
        (b"42", "is a number"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\n  <html><body>502</body></html>", "web page"),
        (b"- a: [", "not a gallery's index"),
        (b"\xff\xfe-\x00", "UTF-8"),
    ],
)
def test_what_is_no_index_is_said_in_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(CatalogError, match=says) as caught:
        parse_index(data)
    assert str(caught.value).endswith(".")


def test_an_empty_list_is_an_index_without_entries() -> None:
    assert parse_index(b"[]").entries == ()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("14.5GB", 14_500_000_000),
        ("108MB", 108_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("2g", 2_000_000_000),
        (1024, 1024),
        ("12", 12),
        ("0", None),
        ("about 2 GB", None),
        ("-1GB", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_sizes_are_read(text: object, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("description", "summary"),
    [
        ("", ""),
        ("One. Two.", "One. Two."),  # too short to stop at
        ("This model answers questions. And more.", "This model answers questions."),
        (
            "# Title\n\n![x](y.png)\n\nA **bold** `model` with a [link](z), v1.5 of it. More.",
            "A bold model with a link, v1.5 of it.",
        ),
        ("# Only a title", "Only a title"),
        ("<b>Ben &amp; Jerry</b> made a model here.", "Ben & Jerry made a model here."),
        ("- first item\n- second", "first item - second"),
        ("a_b and *c* and snake_case_name stay", "a_b and c and snake_case_name stay"),
    ],
)
def test_a_summary_is_the_first_sentence_as_text(description: str, summary: str) -> None:
    assert summary_of(description) == summary


def test_a_summary_is_at_most_300_characters() -> None:
    summary = summary_of("word " * 1000)
    assert len(summary) <= 300
    assert summary.endswith("word…")


def test_the_real_index_is_read_whole() -> None:
    """Where a copy of it lies beside the project; what it has is in our own index too."""
    path = real_index()
    index = parse_index(path.read_bytes() if path else INDEX)
    assert len(index.entries) == (1709 if path else 5)
    for entry in index.entries if path else ():
        name = entry.url.rpartition("/")[2].partition("@")[0]
        recipe = path.parent / name if name else None
        build(entry, parse_recipe(recipe.read_bytes()) if recipe else None, name=entry.name)


# --- In a process of its own ---------------------------------------------------------------------------------------


def test_entries_come_back_from_the_other_process_as_they_were() -> None:
    parsed = parse(INDEX, lambda: None)
    assert [entry for batch in parsed.batches(2) for entry in batch] == list(parse_index(INDEX).entries)
    assert sum(len(batch) for batch in parsed.batches(100)) == 5, "from the beginning at each call"


def test_what_was_left_out_is_counted_and_told() -> None:
    count, reasons = parse(INDEX, lambda: None).left_out
    assert count == len(reasons) == 5
    assert reasons[0].startswith("Entry 6: ") and "made-1b-q4" in reasons[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"[]", "no entry"), (b"a: map", "list"), (b"- {name: \xff}", "UTF-8"), (b"<html>", "web page")],
)
def test_a_text_that_is_no_index_is_refused_in_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        parse(data, lambda: None)


def test_a_small_text_that_becomes_large_in_memory_is_refused_by_the_other_process() -> None:
    limited = "import resource as r, sys; r.setrlimit(r.RLIMIT_AS, (200 << 20, 200 << 20)); "
    program = limited + "from gallery.catalog.parse_child import main; sys.exit(main())"
    data = b"- {name: a, x: [" + b"{}," * 300_000 + b"]}"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, input=data, capture_output=True, timeout=60, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stdout) == (REFUSED, b"")
    assert b"MiB of memory" in ended.stderr


def test_who_does_not_wait_any_more_ends_the_other_process() -> None:
    class GivenUp(Exception):
        pass

    def give_up() -> None:
        raise GivenUp

    before = set(psutil.Process().children())
    with pytest.raises(GivenUp):
        parse(b"- {name: a, x: [" + b"{}," * 500_000 + b"]}", give_up)
    assert set(psutil.Process().children()) <= before


# --- Sources --------------------------------------------------------------------------------------------------------


def test_the_address_itself_is_asked_first(server: Server) -> None:
    url = server.gives("/index.yaml", INDEX, etag='"a"')
    found = fetch_index(url, [server.gives("/mirror", INDEX)], fetcher=fetcher().fetch)
    assert (found.url, found.known) == (url, Known('"a"', digest=DIGEST))
    assert found.index is not None and [len(batch) for batch in found.index.batches(3)] == [3, 2]
    assert server.asked("/mirror") == []


def test_an_index_that_is_the_same_is_not_read_again(server: Server) -> None:
    url = server.gives("/index.yaml", INDEX, etag='"a"')
    found = fetch_index(url, [], known=Known('"a"', digest="d"), fetcher=fetcher().fetch)
    assert (found.index, found.known) == (None, Known('"a"', digest="d"))


def test_the_same_bytes_are_not_read_again_whatever_the_server_calls_them(server: Server) -> None:
    broken = b"- [this, is: no index"
    url = server.gives("/index.yaml", broken, etag="")
    found = fetch_index(url, [], known=Known(digest=sha256(broken).hexdigest()), fetcher=fetcher().fetch)
    assert found.index is None


def test_a_tag_without_the_copy_it_is_of_is_not_asked_with(server: Server) -> None:
    url = server.gives("/index.yaml", INDEX, etag='"a"')
    assert fetch_index(url, [], known=Known('"a"'), fetcher=fetcher().fetch).index is not None


@pytest.mark.parametrize(
    "how",
    [
        {"status": 404},
        {"status": 503},
        {"body": b"<html>an error page with status 200</html>"},
        {"body": b"a: map"},
        {"body": b""},
        {"cut": 10},
        {"headers": {"Content-Encoding": "gzip"}},
        {"redirect": "http://169.254.169.254/"},
    ],
)
def test_a_mirror_is_asked_when_the_address_gives_no_index(server: Server, how: dict[str, object]) -> None:
    url = server.gives("/index.yaml", **{"body": INDEX, **how})
    mirror = server.gives("/mirror", INDEX, etag='"m"')
    found = fetch_index(url, [mirror], known=Known('"m"', "x", "d"), fetcher=fetcher().fetch)
    # The tag of one server is never shown to another.
    assert (found.url, found.known) == (mirror, Known(digest=DIGEST))
    assert "if-none-match" not in server.asked("/mirror")[0].headers


def test_when_nobody_gives_an_index_each_reason_is_said(server: Server) -> None:
    url, mirror = server.gives("/a", status=404), server.gives("/b", b"<html>")
    with pytest.raises(SourceError) as caught:
        fetch_index(url, [mirror, "oci://x"], fetcher=fetcher().fetch)
    assert "404" in str(caught.value)
    assert "web page" in str(caught.value)
    assert "oci" in str(caught.value)
    assert not caught.value.retry


def test_a_source_that_may_come_back_is_worth_another_try(server: Server) -> None:
    with pytest.raises(SourceError) as caught:
        fetch_index(server.gives("/a", status=503), [server.gives("/b", status=404)], fetcher=fetcher().fetch)
    assert caught.value.retry


def test_a_reference_leads_to_the_file_beside_it(server: Server) -> None:
    server.gives("/g/v2/index.yaml", INDEX)
    found = fetch_index(server.gives("/g/latest.ref", b" v2/index.yaml\n"), [], fetcher=fetcher().fetch)
    assert found.known.digest == DIGEST


@pytest.mark.parametrize("body", [b"", b"\n", b"../x", b"/etc/passwd", b"https://example.org/x", b"a\nb", b"<html>"])
def test_a_reference_that_names_no_file_beside_it_is_refused(server: Server, body: bytes) -> None:
    with pytest.raises(SourceError, match="reference"):
        fetch_index(server.gives("/latest.ref", body), [], fetcher=fetcher().fetch)
