"""What lies in the models folder, who uses it, and what would become free."""

import os
from pathlib import Path

import pytest

from gallery.disk import report, usage, walk
from gallery.disk.report import Report
from models.config_folder import ConfigFolder
from models.deletion import plan_deletion


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "phi.yaml", "name: phi\nmmproj: shared.gguf\nparameters: {model: phi/weights.gguf}\n")
    put(tmp_path, "._gallery_phi.yaml", "files: [{filename: phi/extra.json}]\nprompt_templates: [{name: phi}]\n")
    put(tmp_path, "other.yaml", "name: other\nparameters: {model: shared.gguf}\n")
    put(tmp_path, "phi/weights.gguf", "w" * 100)
    put(tmp_path, "phi/extra.json", "e" * 10)
    put(tmp_path, "phi.tmpl", "t" * 5)
    put(tmp_path, "shared.gguf", "s" * 50)
    return tmp_path


def put(root: Path, name: str, content: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def look(root: Path, ignored: frozenset[str] = frozenset()) -> Report:
    found = walk.walk(root)
    return report.make(found, usage.users_of(found, ConfigFolder(root, ignored), usage.Listed(root).read(found)))


def unused(root: Path) -> list[str]:
    return [file.name for file in look(root).unused]


def test_a_model_has_everything_that_its_configuration_and_its_record_name(root: Path) -> None:
    phi = {model.name: model for model in look(root).models}["phi"]
    assert phi.files == 6
    assert phi.others == ("other",)
    assert phi.shared == 50


def test_what_deleting_frees_is_what_the_preview_of_the_deletion_says(root: Path) -> None:
    for model in look(root).models:
        assert model.own == plan_deletion(ConfigFolder(root), model.name).bytes_freed


def test_every_byte_is_in_one_part_and_shared_files_count_once(root: Path) -> None:
    put(root, ".ingest/job/a.part", "p" * 7)
    put(root, ".ingest/suspect/x-y", "s" * 3)
    put(root, ".previous/phi/1/old", "o" * 4)
    put(root, ".cache/x", "h" * 2)
    put(root, "stray.bin.txt", "u" * 9)
    parts = look(root).parts
    assert (parts.shared, parts.unused, parts.suspects, parts.previous, parts.hidden) == (50, 9, 3, 4, 2)
    assert parts.partial >= 7
    texts = sum((root / name).stat().st_size for name in ("phi.yaml", "other.yaml", "._gallery_phi.yaml"))
    assert parts.own == 115 + texts


def test_what_nobody_names_is_unused_and_a_loose_model_is_said_to_be_one(root: Path) -> None:
    put(root, "phi/stray.json", "x")
    put(root, "loose.gguf", "x")
    put(root, "loose.gguf.tmpl", "x")
    assert [(file.name, file.is_model) for file in look(root).unused] == [
        ("loose.gguf", True),
        ("phi/stray.json", False),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "name: voice\npipeline: {llm: stray.gguf}\n",
        "name: bad\nbackend: ../x\nparameters: {model: stray.gguf}\n",
        "name: lora\nlora_adapters: [stray.gguf]\n",
        "name: tts\ntts: {voice: stray.gguf}\n",
        "name: sd\ndiffusers: {control_net: stray.gguf}\n",
        "name: opt\noptions: ['vae_path:stray.gguf']\n",
        "name: art\nartifacts: [{filename: stray.gguf}]\n",
        "name: down\ndownload_files: [{filename: stray.gguf}]\n",
        "name: cache\nprompt_cache_path: stray.gguf\n",
        "- name: one\n  draft_model: stray.gguf\n- name: two\n",
    ],
)
def test_whoever_names_a_file_uses_it(root: Path, content: str) -> None:
    put(root, "stray.gguf", "x")
    assert unused(root) == ["stray.gguf"]
    put(root, "more.yaml", content)
    assert unused(root) == []


def test_a_folder_that_is_named_is_used_with_all_that_is_in_it(root: Path) -> None:
    put(root, "big/a/b.bin", "x")
    put(root, "big.yaml", "name: big\nparameters: {model: big}\n")
    assert unused(root) == []


def test_what_a_link_leads_to_is_used_and_a_link_out_is_not_followed(root: Path, tmp_path_factory) -> None:
    outside = put(tmp_path_factory.mktemp("out"), "secret", "x" * 1000)
    put(root, "real.gguf", "x")
    (root / "name.gguf").symlink_to("real.gguf")
    (root / "out.gguf").symlink_to(outside)
    put(root, "linked.yaml", "name: linked\nparameters: {model: name.gguf}\nmmproj: out.gguf\n")
    assert unused(root) == []
    assert {model.name: model.size for model in look(root).models}["linked"] < 500


def test_a_configuration_that_cannot_be_read_and_an_index_are_not_unused(root: Path) -> None:
    put(root, "broken.yaml", "a: [")
    put(root, "index.yaml", "- {name: x}\n")
    assert [file.name for file in look(root, frozenset({"index.yaml"})).unused] == []


def test_a_file_with_a_second_name_frees_nothing_until_both_go(root: Path) -> None:
    os.link(root / "phi/weights.gguf", root / "again.bin")
    found = look(root)
    phi = {model.name: model for model in found.models}["phi"]
    assert phi.own == plan_deletion(ConfigFolder(root), "phi").bytes_freed
    assert phi.own < 100 + 15 + 200
    assert [(file.name, file.freed) for file in found.unused] == [("again.bin", 0)]
    assert found.parts.unused == 0


def test_a_record_is_read_again_only_when_it_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = usage.Listed(root)
    assert listed.read(walk.walk(root)) == {"phi": frozenset({"phi/extra.json", "phi.tmpl"})}
    monkeypatch.setattr(usage.yaml, "load", None)
    assert listed.read(walk.walk(root))["phi"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert look(tmp_path / "nowhere").models == ()
