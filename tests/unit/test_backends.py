import json
from pathlib import Path

import pytest

from models.runtime.backends import BackendMissing, backend_for, find_backend, list_backends


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "own", tmp_path / "system"]
    for root in found:
        root.mkdir()
    return found


def install(root: Path, name: str, *, run_file: bool = True, **metadata: str) -> Path:
    folder = root / name
    folder.mkdir()
    if run_file:
        (folder / "run.sh").write_text("#!/bin/sh\n")
    if metadata:
        (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def test_a_backend_is_a_folder_with_a_run_file(roots: list[Path]) -> None:
    folder = install(roots[0], "whisper", version="2.1")
    found = find_backend("whisper", roots)
    assert (found.name, found.run_file, found.folder, found.version) == ("whisper", folder / "run.sh", folder, "2.1")


def test_the_earlier_path_wins(roots: list[Path]) -> None:
    install(roots[1], "whisper")
    install(roots[0], "whisper")
    assert find_backend("whisper", roots).folder.parent == roots[0]
    assert [backend.folder.parent for backend in list_backends(roots)] == [roots[0]]


def test_a_meta_backend_stands_for_the_one_it_names(roots: list[Path]) -> None:
    install(roots[1], "cpu-whisper")
    install(roots[0], "whisper", run_file=False, meta_backend_for="cpu-whisper")
    assert find_backend("whisper", roots).name == "cpu-whisper"


def test_an_alias_is_a_name_too(roots: list[Path]) -> None:
    install(roots[1], "cuda12-whisper", alias="whisper")
    assert find_backend("whisper", roots).name == "cuda12-whisper"


def test_a_missing_backend_is_named_with_the_places_it_was_looked_for(roots: list[Path]) -> None:
    with pytest.raises(BackendMissing, match="'whisper'") as caught:
        find_backend("whisper", roots)
    assert all(str(root) in str(caught.value) for root in roots)


@pytest.mark.parametrize(
    "name", ["", "..", "../own/whisper", "/bin", "a/b", "wh isper", "whisper\n", "whisper.install-tmp"]
)
def test_a_name_is_letters_digits_dash_and_underscore(roots: list[Path], name: str) -> None:
    install(roots[0], "whisper")
    with pytest.raises(BackendMissing):
        find_backend(name, roots)


def test_a_link_out_of_the_root_is_not_followed(roots: list[Path], tmp_path: Path) -> None:
    outside = install(tmp_path, "outside")
    (roots[0] / "evil").symlink_to(outside)
    install(roots[0], "sly", run_file=False)
    (roots[0] / "sly" / "run.sh").symlink_to(outside / "run.sh")
    assert list_backends(roots) == []


def test_a_meta_backend_cannot_name_a_way_out(roots: list[Path]) -> None:
    install(roots[0], "whisper", run_file=False, meta_backend_for="../system/cpu")
    install(roots[1], "cpu")
    with pytest.raises(BackendMissing):
        find_backend("whisper", roots)


def test_bad_metadata_hides_no_backend(roots: list[Path]) -> None:
    (install(roots[0], "a") / "metadata.json").write_text("{")
    (install(roots[0], "b") / "metadata.json").write_text("[1]")
    (install(roots[0], "c") / "metadata.json").write_text('{"alias": 3}')
    assert [backend.name for backend in list_backends(roots)] == ["a", "b", "c"]


def test_a_path_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert list_backends([tmp_path / "nowhere"]) == []


@pytest.mark.parametrize(
    ("configured", "file", "backend"),
    [
        ("whisper", "ggml.bin", "whisper"),
        ("whisper", "a.gguf", "whisper"),  # the configuration is asked first
        ("", "a.GGUF", "llama-cpp"),
        ("", "a.bin", ""),  # nothing tells
        ("", "", ""),
    ],
)
def test_a_model_without_a_backend_gets_the_one_its_file_asks_for(configured: str, file: str, backend: str) -> None:
    assert backend_for(configured, file) == backend
