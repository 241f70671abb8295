import json

import pytest

from gallery.catalog.errors import ImportRefused
from gallery.catalog.recipes import parse_recipe
from gallery.catalog.wishes import CONFIGURATION, ENTRY, RECIPE, read_one, wish_from

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_configuration_is_told_by_its_settings_and_its_addresses_become_files():
    wish = read_one(
        "name: m\nparameters:\n  model: huggingface://o/r/sub/m.gguf@dev\nmmproj: https://example.org/p.gguf\n"
    )
    assert (wish.kind, wish.name) == (CONFIGURATION, "m")
    assert wish.described["config_file"]["parameters"]["model"] == "m.gguf"
    assert wish.described["config_file"]["mmproj"] == "p.gguf"
    assert [file["uri"] for file in wish.described["files"]] == [
        "huggingface://o/r/sub/m.gguf@dev",
        "https://example.org/p.gguf",
    ]


def test_a_configuration_without_a_name_is_called_after_its_model():
    assert read_one("parameters: {model: sub/phi-2.Q4.gguf}").name == "phi-2.Q4"
    assert read_one("backend: piper").name == ""


def test_a_recipe_keeps_its_files_and_templates_and_its_configuration_becomes_a_map():
    wish = read_one(
        "name: m\nconfig_file: |\n  backend: llama-cpp\nfiles: [{filename: a, uri: https://x.test/a, sha256: ''}]\n"
        "prompt_templates: [{name: t, content: hello}]\n"
    )
    assert wish.kind == RECIPE
    assert wish.described["config_file"] == {"backend": "llama-cpp"}
    assert wish.described["prompt_templates"] == [{"name": "t", "content": "hello"}]


def test_an_apply_request_in_json_is_an_entry():
    wish = read_one('\t{"config_url": "github:o/r/x.yaml",\n\t"name": "m", "overrides": {"f16": true}}')
    assert (wish.kind, wish.described["url"]) == (ENTRY, "github:o/r/x.yaml")
    by_id = wish_from({"id": "localai@m", "overrides": {"f16": True}, "gallery": {"name": "g"}})
    assert (by_id.id, by_id.gallery, by_id.overrides, by_id.described) == ("localai@m", "g", {"f16": True}, {})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "nothing in it"),
        ("null", "nothing instead of a map"),
        ("just words", "a text instead of a map"),
        ("a: [1, 2", "Line 2"),
        ('{"name": "m", "name": "n", "backend": "x"}', "'name' is set twice"),
        ("name: m\nname: n\nbackend: x", "already set on line 1"),
        ('{"a": NaN}', "nothing that could be installed"),
        ('{"a": [1,}', r"not JSON: .* \(line 1, column 10\)"),
        ("<!DOCTYPE html><html></html>", "web page"),
        ("GGUF\0\0\0", "not a text"),
        (b"\x80\x81\xff", "no text in UTF-8"),
        ("x" * (3 << 20), "larger than 1 MiB"),
        (BOMB, "Aliases here stand for more"),
        ("[" * 500 + "]" * 500, "nested deeper than 64"),
        (json.dumps([{"name": "a", "url": "u", "tags": []}]), "gallery's index with 1 entries"),
        ("[{id: a}, {id: b}]", "list of 2"),
        ("name: m", "nothing that could be installed"),
        ("name: m\nfiles: x", "files is a text"),
        ("name: m\nfiles: [{filename: a}]", "Item 1 of files has no uri"),
        ("name: m\nfiles: [{uri: a}]", "Item 1 of files has no filename"),
        ("name: m\nfiles: [a]", "Item 1 of files is a text"),
        ("name: m\nurl: [a]", "url is a list"),
        ("name: m\nurl: a\noverrides: [a]", "overrides is a list"),
        ("name: m\nconfig_file: 5", "config_file is a number"),
        ("name: m\nconfig_file: 'a: [b'", "config_file is not YAML"),
        ("name: m\nfiles: []\nparameters: {model: x}", "parameters stands beside"),
        ("backend: ../x", "backend is '../x'"),
        ("parameters: {model: ../../etc/passwd}", "parameters.model"),
        ("parameters: [1]", "parameters is"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(text, sentence):
    with pytest.raises(ImportRefused, match=sentence) as refused:
        read_one(text)
    assert refused.value.action


def test_an_address_of_a_plain_configuration_is_a_recipe_too():
    recipe = parse_recipe(b"backend: llama-cpp\nparameters: {model: https://x.test/a.gguf}\n")
    assert recipe.name == "a"
    assert [(file.filename, file.uri) for file in recipe.files] == [("a.gguf", "https://x.test/a.gguf")]
    assert "model: a.gguf" in recipe.config_file


def test_emoji_and_tabs_of_json_are_read():
    assert read_one('{"name":\t"m", "url": "u", "description": "\\ud83d\\ude00"}').described["description"] == "😀"
