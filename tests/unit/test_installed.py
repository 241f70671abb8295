"""Which entries of a gallery are on this host."""

from pathlib import Path

from gallery.installed import installed_names, is_installed


def test_an_entry_is_here_when_its_configuration_is(tmp_path: Path) -> None:
    for name in ("phi.yaml", "org__phi.yaml", ".hidden.yaml", "weights.gguf"):
        (tmp_path / name).touch()
    assert installed_names(tmp_path) == {"phi", "org__phi", "org/phi"}
    assert all(is_installed(tmp_path, name) for name in installed_names(tmp_path))


def test_nothing_is_here_without_a_folder(tmp_path: Path) -> None:
    assert installed_names(tmp_path / "none") == frozenset()
    assert not is_installed(tmp_path / "none", "phi")
