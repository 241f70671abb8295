"""What an installation writes is what LocalAI would have written, under the name that was chosen."""

from pathlib import Path
from typing import Any

import pytest

from gallery.catalog.entries import CatalogEntry, entry_from, parse_index
from gallery.catalog.errors import CatalogError, RecipeError
from gallery.catalog.recipes import InstallRecipe, Recipe, build, parse_recipe
from gallery.downloads.specs import FileSpec
from localai_admin.lib import yaml

FIXTURES = Path(__file__).parent.parent / "fixtures/gallery"
ENTRIES = {entry.name: entry for entry in parse_index((FIXTURES / "index.yaml").read_bytes()).entries}
RECIPE = parse_recipe((FIXTURES / "recipe.yaml").read_bytes())
FILE = {"filename": "f.bin", "uri": "https://example.org/f.bin"}


def entry(**data: Any) -> CatalogEntry:
    return entry_from({"name": "m", **data})


def test_overrides_of_the_entry_are_laid_on_the_recipe() -> None:
    config = build(ENTRIES["made-1b-q4"], RECIPE).config
    assert config == {
        "name": "made-1b-q4",
        "backend": "llama-cpp",
        "context_size": 4096,
        "mmap": True,
        "stopwords": ["<|end|>", "'"],
        "parameters": {"temperature": 0.1, "top_k": 40, "model": "made/one.gguf", "min_p": 0},
        "known_usecases": ["FLAG_CHAT", "completion"],
    }
    assert next(iter(config)) == "name"


def test_the_wishes_of_the_request_come_last() -> None:
    wishes = {"parameters": {"top_k": 0}, "stopwords": [], "mmap": None, "context_size": {"odd": 1}}
    config = build(ENTRIES["made-1b-q4"], RECIPE, request_overrides=wishes).config
    assert config["parameters"]["top_k"] == 0
    assert config["parameters"]["temperature"] == 0.1
    assert (config["stopwords"], config["mmap"], config["context_size"]) == ([], None, {"odd": 1})


@pytest.mark.parametrize("name", ["chosen", None])
def test_no_override_changes_the_name(name: str | None) -> None:
    built = build(ENTRIES["made-1b-q4"], RECIPE, name=name, request_overrides={"name": "theirs"})
    assert built.name == built.config["name"] == (name or "made-1b-q4")


def test_a_recipe_alone_can_be_installed() -> None:
    built = build(None, RECIPE)
    assert built.name == built.config["name"] == "made-template"
    assert [file.filename for file in built.files] == ["shared.bin"]


def test_an_entry_with_its_configuration_inside_needs_no_recipe() -> None:
    built = build(ENTRIES["inline"], None)
    assert built.config == {"name": "inline", "backend": "whisper", "parameters": {"model": "w.bin"}, "f16": "on"}
    assert yaml.load(built.gallery_file["config_file"])["backend"] == "whisper"


def test_overrides_alone_are_an_installation() -> None:
    assert build(ENTRIES["only-overrides"], None).config == {"name": "only-overrides", "backend": "piper"}


def test_files_alone_are_an_installation_without_a_configuration() -> None:
    built = build(entry(files=[FILE]), None)
    assert built.config == {}
    assert [name for name, _ in built.texts()] == ["._gallery_m.yaml"]


@pytest.mark.parametrize("recipe", [None, Recipe(name="virtual", description="a base"), Recipe(config_file="# none\n")])
def test_an_entry_that_installs_nothing_is_refused_with_a_sentence(recipe: Recipe | None) -> None:
    with pytest.raises(RecipeError, match=r"m installs nothing: .*no files"):
        build(entry(), recipe)


def test_files_are_those_of_the_recipe_of_the_request_and_of_the_entry() -> None:
    wish = FileSpec("wish.bin", "", "https://example.org/w")
    built = build(ENTRIES["made-1b-q4"], RECIPE, request_files=[wish])
    assert [file.filename for file in built.files] == ["shared.bin", "wish.bin", "made/one.gguf"]


def test_of_two_files_of_one_name_the_last_counts() -> None:
    built = build(entry(files=[FILE, {**FILE, "uri": "https://example.org/second"}]), None)
    assert [file.uri for file in built.files] == ["https://example.org/second"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([{"uri": "https://example.org/f"}], "names no file"),
        ([{"filename": "f"}], "where f comes from"),
        ([{**FILE, "filename": "../f"}], r"\.\."),
        ([{**FILE, "filename": "/etc/f"}], "relative"),
        ([{**FILE, "sha256": "abc"}], "SHA-256"),
        ([{**FILE, "sha256": "sha1:" + "0" * 64}], "SHA-256"),
    ],
)
def test_a_file_that_cannot_be_downloaded_is_refused_at_once(files: list[dict[str, str]], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        build(entry(files=files), None)


@pytest.mark.parametrize("name", ["../x", "a\nb", ".hidden", "x" * 201])
def test_a_name_that_no_model_can_have_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="no name for a model"):
        build(ENTRIES["inline"], None, name=name)


def test_a_template_that_leaves_the_folder_is_refused() -> None:
    with pytest.raises(RecipeError):
        build(entry(), Recipe(prompt_templates=(("../x", "text"),)))


def test_the_configuration_is_the_last_text_and_its_name_has_no_slash() -> None:
    texts = build(ENTRIES["made-1b-q4"], RECIPE, name="org/m").texts()
    assert [name for name, _ in texts] == ["made-chat.tmpl", "._gallery_org__m.yaml", "org__m.yaml"]
    assert texts[0][1] == b"{{.Input}}\nanswer:\n"
    assert yaml.load(texts[2][1])["name"] == "org/m"


def test_the_record_is_what_localai_keeps() -> None:
    record = build(ENTRIES["made-1b-q4"], RECIPE, name="m").gallery_file
    assert record["name"] == "m"
    assert record["entry_name"] == "made-1b-q4"
    assert record["license"] == "apache-2.0"
    assert record["urls"] == ["https://example.org/recipe", "https://example.org/made/one"]
    assert record["config_file"] == RECIPE.config_file
    assert record["files"][1] == {
        "filename": "made/one.gguf",
        "sha256": "0" * 62 + "aa",
        "uri": "huggingface://made/one/one.gguf",
    }
    assert record["prompt_templates"] == [{"name": "made-chat", "content": "{{.Input}}\nanswer:\n"}]


def test_a_record_can_be_read_as_a_recipe_again() -> None:
    built = build(ENTRIES["made-1b-q4"], RECIPE)
    again = parse_recipe(dict(built.texts())["._gallery_made-1b-q4.yaml"])
    assert again.files == built.files
    assert again.config_file == RECIPE.config_file


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "nothing"),
        (b"- a", "a list instead of a map"),
        (b"404: Not Found - is a map", None),
        (b"<html>", "web page"),
        (b"config_file: [a]", "a list; it must be"),
    ],
)
def test_what_is_no_recipe_is_said_in_a_sentence(data: bytes, says: str | None) -> None:
    if says is None:
        assert parse_recipe(data) == Recipe()
        return
    with pytest.raises(CatalogError, match=says):
        parse_recipe(data)


@pytest.mark.parametrize(
    ("config", "says"), [("a: [", "not YAML"), ("- a", "a list instead"), ("text", "a text instead")]
)
def test_a_configuration_that_is_no_map_is_refused(config: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        build(None, Recipe(name="m", config_file=config))


def test_a_configuration_that_is_a_map_is_taken_all_the_same() -> None:
    assert build(None, parse_recipe(b"name: m\nconfig_file: {backend: piper}")).config["backend"] == "piper"


def test_nothing_of_the_catalogue_is_changed_by_building() -> None:
    before = yaml.dump(ENTRIES["made-1b-q4"].raw)
    built: InstallRecipe = build(ENTRIES["made-1b-q4"], RECIPE)
    built.config["parameters"]["model"] = "changed"
    assert yaml.dump(ENTRIES["made-1b-q4"].raw) == before
