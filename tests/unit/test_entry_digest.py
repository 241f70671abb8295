"""What tells two states of an entry apart."""

import json

import pytest

from gallery.catalog.entries import entry_from, from_line, to_line
from gallery.catalog.identity import entry_digest

ENTRY = {
    "name": "phi",
    "description": "Small.",
    "tags": ["llm"],
    "overrides": {"parameters": {"model": "phi.gguf", "temperature": 0.2}, "f16": True},
    "files": [{"filename": "phi.gguf", "sha256": "AB", "uri": "https://x.test/phi.gguf"}],
}


def digest(**changes: object) -> str:
    return entry_digest(entry_from({**ENTRY, **changes}))


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Tiny."},
        {"tags": ["gguf"]},
        {"icon": "https://x.test/i.png"},
        {"license": "mit"},
        {"overrides": {"f16": True, "parameters": {"temperature": 0.2, "model": "phi.gguf"}}},
        {"files": [{"uri": "https://x.test/phi.gguf", "filename": "phi.gguf", "sha256": "ab"}]},
    ],
)
def test_what_does_not_change_an_install_leaves_the_digest(change: dict[str, object]) -> None:
    assert digest(**change) == digest()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "phi-2"},
        {"url": "https://x.test/recipe.yaml"},
        {"config_file": {"backend": "llama-cpp"}},
        {"overrides": {"parameters": {"model": "phi.gguf", "temperature": 0.3}, "f16": True}},
        {"files": [{"filename": "phi.gguf", "sha256": "ac", "uri": "https://x.test/phi.gguf"}]},
        {"files": [{"filename": "phi.gguf", "sha256": "ab", "uri": "https://y.test/phi.gguf"}]},
    ],
)
def test_what_changes_an_install_changes_the_digest(change: dict[str, object]) -> None:
    assert digest(**change) != digest()


def test_a_configuration_that_does_not_count_beside_a_recipe_does_not_count_here() -> None:
    assert digest(url="https://x.test/r", config_file={"a": 1}) == digest(url="https://x.test/r")


def test_it_is_the_same_after_a_way_through_a_process_or_a_database() -> None:
    entry = entry_from({**ENTRY, "overrides": {1: 2.0, "big": 1e22, "none": None}})
    assert entry_digest(from_line(to_line(entry))) == entry_digest(entry)
    stored = json.loads(json.dumps(entry.raw).replace("2.0", "2"))
    assert entry_digest(entry_from(stored)) == entry_digest(entry)
