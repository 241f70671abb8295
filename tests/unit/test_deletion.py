"""Deleting a model removes what only this model uses, and says before what that is."""

from pathlib import Path

import pytest

from models.config_folder import ConfigFolder
from models.deletion import DeletionFailed, DeletionPreview, NoSuchModel, delete_files, plan_deletion
from models.listing import list_models, loose_files
from tests.fakes.nobody import as_nobody


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text or "x" * 10)


def plan(root: Path, name: str) -> DeletionPreview:
    return plan_deletion(ConfigFolder(root), name)


def going(preview: DeletionPreview) -> list[str]:
    return [name for name, _ in preview.files]


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


# --- The preview ------------------------------------------------------------------------------------------------------


def test_everything_only_this_model_uses_goes_the_configuration_first_the_record_last(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: big/a.gguf}\nmmproj: mm.gguf\ntemplate: {chat: a-chat}\n")
    put(root, "._gallery_a.yaml", "files: [{filename: extra.bin}]\nprompt_templates: [{name: a-more}]\n")
    for name in ("big/a.gguf", "mm.gguf", "a-chat.tmpl", "a-more.tmpl", "extra.bin", "other.gguf"):
        put(root, name)
    preview = plan(root, "a")
    assert going(preview)[0] == "a.yaml"
    assert going(preview)[-1] == "._gallery_a.yaml"
    assert sorted(going(preview)[1:-1]) == ["a-chat.tmpl", "a-more.tmpl", "big/a.gguf", "extra.bin", "mm.gguf"]
    assert dict(preview.files)["big/a.gguf"] == 10
    assert preview.bytes_freed == sum((root / name).stat().st_size for name in going(preview))
    assert preview.shared == []


def test_files_that_others_use_stay_and_the_others_are_named(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: a.gguf}\nmmproj: mm.gguf\n")
    put(root, "b.yml", "name: b\nmmproj: mm.gguf\n")
    put(root, "c.yaml", "- name: c\n  draft_model: mm.gguf\n- name: d\n  lora_adapters: [mm.gguf]\n")
    put(root, "._gallery_e.yaml", "files: [{filename: mm.gguf}]\n")
    for name in ("a.gguf", "mm.gguf"):
        put(root, name)
    preview = plan(root, "a")
    assert going(preview) == ["a.yaml", "a.gguf"]
    assert preview.shared == [("mm.gguf", ["b", "c", "d", "e"])]


def test_a_configuration_that_is_not_valid_still_protects_its_files(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: x.gguf}\n")
    put(root, "bad.yaml", "name: bad\nbackend: ../no\nparameters: {model: x.gguf}\n")
    put(root, "x.gguf")
    assert plan(root, "a").shared == [("x.gguf", ["bad"])]


def test_a_file_below_a_folder_that_another_model_uses_stays(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: repo/weights.bin}\n")
    put(root, "b.yaml", "name: b\nparameters: {model: repo}\n")
    put(root, "repo/weights.bin")
    assert plan(root, "a").shared == [("repo/weights.bin", ["b"])]


def test_a_folder_goes_file_by_file_without_those_that_others_use(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: repo}\n")
    put(root, "b.yaml", "name: b\nparameters: {model: repo/deep/shared.bin}\n")
    for name in ("repo/one.bin", "repo/deep/shared.bin", "repo/deep/two.bin"):
        put(root, name)
    preview = plan(root, "a")
    assert going(preview) == ["a.yaml", "repo/deep/two.bin", "repo/one.bin"]
    assert preview.shared == [("repo/deep/shared.bin", ["b"])]


def test_what_another_model_reaches_through_a_link_stays(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: real.gguf}\n")
    put(root, "b.yaml", "name: b\nparameters: {model: link.gguf}\n")
    put(root, "real.gguf")
    (root / "link.gguf").symlink_to("real.gguf")
    assert plan(root, "a").shared == [("real.gguf", ["b"])]


def test_names_that_lead_out_of_the_folder_are_never_in_it(root: Path) -> None:
    put(root.parent, "secret")
    (root / "out").symlink_to(root.parent)
    (root / "link.bin").symlink_to(root.parent / "secret")
    put(
        root,
        "._gallery_a.yaml",
        "files:\n"
        + "".join(f"- filename: {name}\n" for name in ("../secret", "/etc/passwd", "out/secret", "link.bin", ".")),
    )
    assert going(plan(root, "a")) == ["._gallery_a.yaml"]


def test_a_model_cannot_take_the_configuration_or_the_record_of_another_with_it(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: b.yaml}\nmmproj: ._gallery_b.yaml\ndraft_model: broken.yaml\n")
    put(root, "b.yaml", "name: b\n")
    put(root, "._gallery_b.yaml", "name: b\n")
    put(root, "broken.yaml", "{broken")
    preview = plan(root, "a")
    assert going(preview) == ["a.yaml"]
    assert [file for file, _ in preview.shared] == ["._gallery_b.yaml", "b.yaml", "broken.yaml"]


def test_a_record_under_the_name_of_the_configuration_file_is_found(root: Path) -> None:
    put(root, "file.yaml", "name: other-name\n")
    put(root, "._gallery_file.yaml", "files: [{filename: x.bin}]\n")
    put(root, "x.bin")
    assert going(plan(root, "other-name")) == ["file.yaml", "x.bin", "._gallery_file.yaml"]


def test_a_record_of_a_name_with_a_slash_is_found(root: Path) -> None:
    put(root, "org__m.yaml", "name: org/m\n")
    put(root, "._gallery_org__m.yaml", "files: []\n")
    assert going(plan(root, "org/m")) == ["org__m.yaml", "._gallery_org__m.yaml"]


def test_a_broken_record_protects_nothing_and_breaks_nothing(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: a.gguf}\n")
    put(root, "._gallery_b.yaml", "{a.gguf")
    put(root, "a.gguf")
    assert going(plan(root, "a")) == ["a.yaml", "a.gguf"]


def test_a_record_that_spells_a_name_with_escapes_protects_it(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: größe.gguf}\n")
    put(root, "._gallery_b.yaml", 'files: [{filename: "gr\\xF6\\xDFe.gguf"}]\n')
    put(root, "größe.gguf")
    assert plan(root, "a").shared == [("größe.gguf", ["b"])]


@pytest.mark.parametrize("name", ["none", "", "..", "../x", "a\x00b", "x" * 5000])
def test_a_name_that_nothing_has_is_an_error_of_its_own(root: Path, name: str) -> None:
    put(root, "a.yaml", "name: a\n")
    with pytest.raises(NoSuchModel, match="There is no model"):
        plan(root, name)


def test_a_loose_file_goes_with_its_template(root: Path) -> None:
    put(root, "free.gguf")
    put(root, "free.gguf.tmpl")
    assert going(plan(root, "free.gguf")) == ["free.gguf", "free.gguf.tmpl"]


def test_a_file_that_a_model_uses_does_not_go_as_a_loose_one(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: a.gguf}\n")
    put(root, "a.gguf")
    preview = plan(root, "a.gguf")
    assert preview.files == []
    assert preview.shared == [("a.gguf", ["a"])]


# --- The deleting -----------------------------------------------------------------------------------------------------


def test_deleting_does_what_the_preview_said_and_leaves_no_empty_folder(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: deep/er/a.gguf}\nmmproj: mm.gguf\n")
    put(root, "b.yaml", "name: b\nmmproj: mm.gguf\n")
    put(root, "._gallery_a.yaml", "files: [{filename: deep/extra.bin}]\n")
    for name in ("deep/er/a.gguf", "deep/extra.bin", "mm.gguf", "half/full.bin"):
        put(root, name)
    delete_files(plan(root, "a"), root)
    assert everything(root) == ["b.yaml", "half", "half/full.bin", "mm.gguf"]


def test_a_folder_that_holds_something_else_stays(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: deep/a.gguf}\n")
    put(root, "deep/a.gguf")
    put(root, "deep/notes.txt")
    delete_files(plan(root, "a"), root)
    assert everything(root) == ["deep", "deep/notes.txt"]


def test_a_second_try_finishes_what_a_first_one_left(root: Path) -> None:
    put(root, "a.yaml", "name: a\n")
    put(root, "._gallery_a.yaml", "files: [{filename: one.bin}, {filename: two.bin}]\n")
    put(root, "one.bin")
    put(root, "two.bin")
    first = plan(root, "a")
    (root / "a.yaml").unlink()
    (root / "one.bin").unlink()
    again = plan(root, "a")
    assert going(again) == ["two.bin", "._gallery_a.yaml"]
    delete_files(first, root)
    assert everything(root) == []
    delete_files(first, root)


def test_when_a_file_cannot_go_the_model_is_no_longer_listed_and_the_reason_is_told(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: a.gguf}\n")
    put(root, "._gallery_a.yaml", "files: [{filename: a.gguf}]\n")
    put(root, "a.gguf")
    preview = plan(root, "a")
    (root / "a.gguf").unlink()
    (root / "a.gguf").mkdir()
    with pytest.raises(DeletionFailed, match=r"a\.gguf cannot be deleted: .*try again") as failed:
        delete_files(preview, root)
    assert failed.value.retry
    assert list_models(ConfigFolder(root).all(), loose_files(root)) == []
    (root / "a.gguf").rmdir()
    delete_files(preview, root)
    assert everything(root) == []


def test_a_folder_swapped_for_a_link_after_the_preview_is_not_followed(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: sub/precious}\n")
    put(root, "sub/precious")
    put(root.parent, "outside/precious")
    preview = plan(root, "a")
    (root / "sub").rename(root.parent / "aside")
    (root / "sub").symlink_to(root.parent / "outside")
    with pytest.raises(DeletionFailed):
        delete_files(preview, root)
    assert (root.parent / "outside" / "precious").exists()


def test_a_link_goes_and_what_it_points_to_stays(root: Path) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: link.gguf}\n")
    put(root, "real.gguf")
    (root / "link.gguf").symlink_to("real.gguf")
    delete_files(plan(root, "a"), root)
    assert everything(root) == ["real.gguf"]


def test_one_of_several_models_in_a_file_goes_and_the_file_stays(root: Path) -> None:
    put(root, "many.yaml", "- name: a\n  parameters: {model: a.gguf}\n- name: b\n- name: c\n  f16: true\n")
    put(root, "a.gguf")
    (root / "many.yaml").chmod(0o640)
    preview = plan(root, "a")
    assert going(preview) == ["a.gguf"]
    assert preview.shared == [("many.yaml", ["b", "c"])]
    assert preview.rewritten == "many.yaml"
    delete_files(preview, root)
    assert [config.data for config in ConfigFolder(root).all()] == [{"name": "b"}, {"name": "c", "f16": True}]
    assert everything(root) == ["many.yaml"]
    assert (root / "many.yaml").stat().st_mode & 0o777 == 0o640
    delete_files(preview, root)


def test_a_thousand_records_of_others_are_not_parsed_for_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "a.yaml", "name: a\nparameters: {model: mine.gguf}\n")
    put(root, "mine.gguf")
    for number in range(1000):
        put(root, f"._gallery_m{number}.yaml", f"files: [{{filename: theirs{number}.gguf}}]\n")
    parsed = []
    from models import deletion

    load = deletion.yaml.load
    monkeypatch.setattr(deletion.yaml, "load", lambda *args, **options: parsed.append(args) or load(*args, **options))
    folder = ConfigFolder(root)
    folder.all()
    parsed.clear()
    assert going(plan_deletion(folder, "a")) == ["a.yaml", "mine.gguf"]
    assert parsed == []


def test_a_folder_without_the_right_to_write_is_a_sentence(root: Path) -> None:
    put(root, "a.yaml", "name: a\n")
    preview = plan(root, "a")
    with as_nobody(root), pytest.raises(DeletionFailed, match="rights"):
        delete_files(preview, root)


def test_what_a_deletion_that_was_broken_off_had_set_out_to_remove_still_goes(root: Path) -> None:
    """The configuration, which told of the files, goes first; somebody else's need of one is looked at anew."""
    for file in ("own.bin", "shared.bin", "._gallery_odd.yaml"):
        (root / file).write_bytes(b"x")
    (root / "other.yaml").write_text("name: other\nparameters: {model: shared.bin}\n")
    with pytest.raises(NoSuchModel):
        plan_deletion(ConfigFolder(root), "gone")
    earlier = ["gone.yaml", "own.bin", "shared.bin", "._gallery_odd.yaml"]
    plan = plan_deletion(ConfigFolder(root), "gone", earlier)
    assert going(plan) == ["own.bin", "._gallery_odd.yaml"]
    assert plan.shared == [("shared.bin", ["other"])]
