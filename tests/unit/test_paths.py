"""A name that came from elsewhere never leaves its folder."""

from pathlib import Path

import pytest

from localai_admin.lib.files import atomic_write, free_space
from localai_admin.lib.paths import UnsafePath, file_name_for_model, inside, is_model_name, same_name_key


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/",
        "a/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../x",
        "a/..",
        "a\\..\\x",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u2028b",
        "\udcff",
        "x" * 256,
        "é" * 128,  # 256 bytes
        "x/" * 600 + "x",
    ],
)
def test_an_unsafe_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafePath) as caught:
        inside(tmp_path, name)
    assert caught.value.name == name


@pytest.mark.parametrize("name", ["a", "a/b/c.gguf", "a..b", "...", ".hidden", "x" * 255, "ü/é.bin", "a b", "a:q4"])
def test_an_ordinary_name_is_a_place_in_the_folder(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == tmp_path / name


def test_a_link_that_stays_inside_is_followed_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path, "link/x") == tmp_path / "real" / "x"


@pytest.mark.parametrize("name", ["out", "out/x", "chain/x", "file", "circle", "circle/x"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "chain").symlink_to("out")
    (root / "file").symlink_to("/etc/passwd")
    (root / "circle").symlink_to("circle")
    with pytest.raises(UnsafePath, match="link"):
        inside(root, name)


def test_a_root_that_is_a_link_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    assert inside(tmp_path / "root", "x") == tmp_path / "real" / "x"


@pytest.mark.parametrize("name", ["llama", "a/b", "llama-3.2:q4_k_m", "Ünïcode", "a b", "x" * 200])
def test_a_model_can_be_called_that(name: str) -> None:
    assert is_model_name(name)


@pytest.mark.parametrize(
    "name", ["", " a", "a ", ".a", "../a", "a/../b", "/a", "a//b", "a/./b", "a\nb", "x" * 201, "a\\b"]
)
def test_a_model_cannot_be_called_that(name: str) -> None:
    assert not is_model_name(name)
    with pytest.raises(UnsafePath):
        file_name_for_model(name)


def test_a_slash_of_a_models_name_is_two_underscores_in_its_files() -> None:
    assert file_name_for_model("org/model") == "org__model"


def test_names_that_some_file_systems_hold_for_one_have_one_key() -> None:
    assert same_name_key("CAFÉ.bin") == same_name_key("cafe\u0301.BIN")
    assert same_name_key("a") != same_name_key("b")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    atomic_write(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_hard_link_to_a_replaced_file_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"old")
    (tmp_path / "f").hardlink_to(tmp_path / "other")
    atomic_write(tmp_path / "f", b"new")
    assert (tmp_path / "other").read_bytes() == b"old"


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic_write(tmp_path / "f", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_free_space_is_known_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_space(tmp_path / "not" / "yet") > 0
