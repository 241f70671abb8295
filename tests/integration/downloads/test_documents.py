"""Small documents are fetched whole, and not twice when they are the same."""

from pathlib import Path

import pytest

from gallery.downloads import errors
from tests.fakes.downloads import transport
from tests.fakes.http_server import Server


def test_a_document_is_not_sent_again_when_it_is_the_same(server: Server) -> None:
    url = server.gives("/d", b"text")
    first = transport().fetch(url)
    assert (first.body, first.etag) == (b"text", '"1"')
    assert transport().fetch(url, etag=first.etag).body is None


def test_a_document_that_is_too_large_is_refused(server: Server) -> None:
    with pytest.raises(errors.TooLarge):
        transport().fetch(server.gives("/d", b"x" * 101), limit=100)


def test_a_local_document_has_a_tag_too(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"text")
    local = transport(file_roots=[tmp_path])
    first = local.fetch(f"file://{tmp_path}/d")
    assert first.body == b"text"
    assert local.fetch(f"file://{tmp_path}/d", etag=first.etag).body is None
