"""What is in the models folder already is neither fetched nor overwritten."""

from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.progress import Snapshot
from gallery.downloads.store import Ingest
from tests.fakes.downloads import BODY, everything, fetch, install, put_in_place, spec
from tests.fakes.http_server import Server


def test_a_file_with_the_same_digest_is_used_without_asking_for_it(server: Server, models: Path) -> None:
    (models / "model.gguf").write_bytes(BODY)
    told: list[Snapshot] = []
    ingest = Ingest(models, "job-1")
    file = spec(server.url("/f"))
    fetch(ingest, file, told=told)
    put_in_place(ingest, [file], [("m.yaml", b"name: m\n")])
    assert server.seen == []
    assert told[-1].files[0].status == "already here"
    assert (told[-1].done, told[-1].total) == (len(BODY), len(BODY))


def test_a_file_without_a_digest_is_the_same_when_it_is_as_long(server: Server, models: Path) -> None:
    (models / "model.gguf").write_bytes(BODY)
    install(models, spec(server.gives("/f", BODY), None))
    assert server.asked("/f") == []


@pytest.mark.parametrize("body", [BODY, None])
def test_another_file_of_that_name_is_not_replaced(server: Server, models: Path, body: bytes | None) -> None:
    (models / "model.gguf").write_bytes(b"of another model")
    with pytest.raises(errors.NameTaken):
        install(models, spec(server.gives("/f", BODY), body))
    assert (models / "model.gguf").read_bytes() == b"of another model"


def test_a_file_of_the_same_model_is_replaced(server: Server, models: Path) -> None:
    (models / "model.gguf").write_bytes(b"its last version")
    install(models, spec(server.gives("/f", BODY)), owned={"model.gguf"})
    assert everything(models) == {"model.gguf": BODY}


@pytest.mark.parametrize(
    ("there", "name"),
    [("Model.gguf", "model.gguf"), ("DIR/x", "dir/model.gguf"), ("caf\u00e9.bin", "cafe\u0301.bin")],
)
def test_a_name_that_differs_only_by_case_or_form_is_refused(
    server: Server, models: Path, there: str, name: str
) -> None:
    (models / there).parent.mkdir(exist_ok=True)
    (models / there).write_bytes(b"x")
    with pytest.raises(errors.NameTaken):
        install(models, spec(server.gives("/f", BODY), BODY, name))


def test_two_files_of_one_entry_must_be_told_apart(server: Server, models: Path) -> None:
    url = server.gives("/f", BODY)
    with pytest.raises(errors.NameTaken):
        install(models, spec(url, BODY, "a.bin"), spec(url, BODY, "A.bin"))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".ingest/job-2/x", "a/._gallery_x.yaml", "a\0b", ""])
def test_a_name_that_leaves_its_place_is_refused_before_anything_is_asked(
    server: Server, models: Path, name: str
) -> None:
    with pytest.raises(errors.UnsafeName):
        install(models, spec(server.gives("/f", BODY), BODY, name))
    assert server.asked("/f") == []


def test_a_link_out_of_the_models_folder_is_not_followed(server: Server, models: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (models / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(errors.UnsafeName):
        install(models, spec(server.gives("/f", BODY), BODY, "out/x"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_link_put_there_during_the_download_is_not_followed(server: Server, models: Path, tmp_path: Path) -> None:
    file = spec(server.gives("/f", BODY), BODY, "sub/x")
    ingest = Ingest(models, "job-1")
    fetch(ingest, file)
    (models / "sub").symlink_to(tmp_path)
    with pytest.raises(errors.UnsafeName):
        put_in_place(ingest, [file], [])
    assert not (tmp_path / "x").exists()


# --- Under another name -----------------------------------------------------------------------------------------------


def test_a_file_with_the_same_digest_under_another_name_is_not_fetched(server: Server, models: Path) -> None:
    (models / "shared.bin").write_bytes(BODY)
    told: list[Snapshot] = []
    ingest, file = Ingest(models, "job-1"), spec(server.url("/f"))
    fetch(ingest, file, told=told, known=lambda sha256: models / "shared.bin" if sha256 == file.sha256 else None)
    put_in_place(ingest, [file], [])
    assert server.seen == []
    assert (told[-1].files[0].status, told[-1].done, told[-1].fetched) == ("already here", len(BODY), 0)
    assert (models / "model.gguf").samefile(models / "shared.bin")


@pytest.mark.parametrize("there", [b"something else", None])
def test_what_was_wrongly_said_to_have_the_digest_is_fetched(server: Server, models: Path, there: bytes | None) -> None:
    if there is not None:
        (models / "shared.bin").write_bytes(there)
    ingest, file = Ingest(models, "job-1"), spec(server.gives("/f", BODY))
    fetch(ingest, file, known=lambda _: models / "shared.bin")
    put_in_place(ingest, [file], [])
    assert (models / "model.gguf").read_bytes() == BODY
    assert (models / "shared.bin").read_bytes() == there if there is not None else not (models / "shared.bin").exists()
