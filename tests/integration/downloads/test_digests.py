"""Nothing is used that has another digest than it should have."""

import hashlib
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from tests.fakes.downloads import BODY, everything, fetch, install, put_in_place, spec, stopped_at
from tests.fakes.http_server import Server


def test_a_file_with_another_digest_is_put_aside_and_never_placed(server: Server, models: Path) -> None:
    file = FileSpec("m.gguf", "0" * 64, server.gives("/f", BODY))
    with pytest.raises(errors.DigestMismatch) as caught:
        install(models, file)
    assert caught.value.expected == "0" * 64
    assert caught.value.got == hashlib.sha256(BODY).hexdigest()
    assert not caught.value.retry
    assert [path.read_bytes() for path in (models / ".ingest/suspect").glob("*[!n]")] == [BODY]
    assert not (models / "m.gguf").exists()


def test_what_was_put_together_wrongly_is_fetched_once_more(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BODY))
    ingest = Ingest(models, "job-1")
    stopped_at(server, ingest, file, 100_000)
    with next(ingest.folder.glob("*.part")).open("r+b") as part:
        part.write(b"damage")
    fetch(Ingest(models, "job-1"), file)
    put_in_place(Ingest(models, "job-1"), [file], [])
    assert (models / "model.gguf").read_bytes() == BODY
    assert len([path for path in (models / ".ingest/suspect").iterdir() if path.suffix != ".json"]) == 1


def test_what_is_wrong_twice_fails_and_the_same_suspect_is_kept_once(server: Server, models: Path) -> None:
    file = FileSpec("m.gguf", "0" * 64, server.gives("/f", BODY, cuts=[100_000]))
    with pytest.raises(errors.DigestMismatch):
        install(models, file)
    assert len([path for path in (models / ".ingest/suspect").iterdir() if path.suffix != ".json"]) == 1
    # Once in two pieces, once in one.
    assert sum(server.sent.values()) == 2 * len(BODY)


def test_another_source_is_tried_before_a_mismatch_fails(server: Server, other: Server, models: Path) -> None:
    server.gives("/o/r/resolve/main/f.gguf", bytes(len(BODY)))
    other.gives("/o/r/resolve/main/f.gguf", BODY)
    install(models, spec("huggingface://o/r/f.gguf"), hf_endpoints=(server.url(""), other.url("")))
    assert (models / "model.gguf").read_bytes() == BODY


def test_another_source_is_tried_when_the_first_does_not_have_it(server: Server, other: Server, models: Path) -> None:
    server.gives("/o/r/resolve/main/f.gguf", BODY, statuses=[404])
    other.gives("/o/r/resolve/main/f.gguf", BODY)
    install(models, spec("huggingface://o/r/f.gguf"), hf_endpoints=(server.url(""), other.url("")))
    assert (models / "model.gguf").read_bytes() == BODY
    assert len(other.asked("/o/r/resolve/main/f.gguf")) == 1


def test_a_digest_without_the_file_in_the_models_folder_is_no_reason_to_skip_it(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BODY))
    install(models, file)
    (models / "model.gguf").unlink()
    install(models, file, job="job-2")
    assert everything(models) == {"model.gguf": BODY}
