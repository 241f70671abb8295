"""Which models are listed: every policy, with every filter, for files that are claimed and files that are not."""

import time
from pathlib import Path

import pytest

from models.config_folder import ConfigFolder
from models.configs import parse
from models.listing import (
    MAX_PATTERN,
    FilterInvalid,
    LooseFilePolicy,
    all_of,
    list_models,
    loose_files,
    name_filter,
    usecase_filter,
)

#: Two configured models; between them they claim a model file, a projector, and nothing of `free.gguf`.
CONFIGS = [
    *parse("name: seer\nparameters: {model: seer.gguf}\nmmproj: eyes.gguf\ntemplate: {chat: x}", Path("seer.yaml")),
    *parse("name: embed\nparameters: {model: embed.gguf}\nembeddings: true", Path("embed.yaml")),
]
LOOSE = ["eyes.gguf", "free.gguf", "seer.gguf", "embed.gguf"]
P = LooseFilePolicy

TABLE: list[tuple[P, str, str, list[str]]] = [
    # Only files, and none that a configuration claims: neither as its model nor as its projector.
    (P.LOOSE_ONLY, "", "", ["free.gguf"]),
    # The filter hides `embed`, yet its file stays claimed and does not come back as a model of its own.
    (P.LOOSE_ONLY, "free|embed", "", ["free.gguf"]),
    # A filter that hides the only unclaimed file leaves nothing.
    (P.LOOSE_ONLY, "seer", "", []),
    # Loose files have no use case.
    (P.LOOSE_ONLY, "", "chat", []),
    # Configured first, by name, then what is unclaimed.
    (P.SKIP_IF_CONFIGURED, "", "", ["embed", "seer", "free.gguf"]),
    # The name is searched for the pattern; seer.gguf and eyes.gguf match it, but are claimed.
    (P.SKIP_IF_CONFIGURED, "^s|gguf$", "", ["seer", "free.gguf"]),
    # All configurations are hidden by the filter: their files still are claimed.
    (P.SKIP_IF_CONFIGURED, "gguf", "", ["free.gguf"]),
    # By use case: the one that chats, and no loose file.
    (P.SKIP_IF_CONFIGURED, "", "chat", ["seer"]),
    # Both filters have to agree.
    (P.SKIP_IF_CONFIGURED, "embed", "chat", []),
    # No loose file, claimed or not.
    (P.SKIP_ALWAYS, "", "", ["embed", "seer"]),
    # The unclaimed file matches and is left out all the same.
    (P.SKIP_ALWAYS, "seer|free", "", ["seer"]),
    (P.SKIP_ALWAYS, "", "embeddings", ["embed"]),
    # Everything, claimed files included, configured models still first.
    (P.ALWAYS_INCLUDE, "", "", ["embed", "seer", "embed.gguf", "eyes.gguf", "free.gguf", "seer.gguf"]),
    # The filter applies to claimed files, too.
    (P.ALWAYS_INCLUDE, "^e", "", ["embed", "embed.gguf", "eyes.gguf"]),
    # A use case leaves loose files out, claimed or not.
    (P.ALWAYS_INCLUDE, "", "vision", ["seer"]),
]


@pytest.mark.parametrize(("policy", "pattern", "usecase", "expected"), TABLE)
def test_models_are_listed_by_policy_and_filter(policy: P, pattern: str, usecase: str, expected: list[str]) -> None:
    keep = all_of(name_filter(pattern), usecase_filter(usecase))
    assert list_models(CONFIGS, LOOSE, keep, policy) == expected


def test_the_usual_policy_hides_claimed_files() -> None:
    assert list_models(CONFIGS, LOOSE) == ["embed", "seer", "free.gguf"]


@pytest.mark.parametrize("policy", list(P))
def test_the_order_does_not_depend_on_the_order_of_reading(policy: P) -> None:
    assert list_models(CONFIGS, LOOSE, None, policy) == list_models(CONFIGS[::-1], LOOSE[::-1], None, policy)


@pytest.mark.parametrize("policy", list(P))
def test_a_name_is_listed_once(policy: P) -> None:
    configs = parse("name: twin.gguf\nparameters: {model: twin.gguf}", Path("twin.yaml"))
    assert list_models(configs, ["twin.gguf", "twin.gguf"], None, policy) == (
        [] if policy is P.LOOSE_ONLY else ["twin.gguf"]
    )


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "*", "x" * (MAX_PATTERN + 1)])
def test_a_pattern_that_is_none_is_refused_with_a_sentence(pattern: str) -> None:
    with pytest.raises(FilterInvalid, match="The filter"):
        name_filter(pattern)


def test_a_pattern_made_to_run_for_ever_does_not() -> None:
    keep = name_filter(r"(a+)+(b+)+$|(.*)*x")
    assert keep
    began = time.process_time()
    assert not keep("a" * 250 + "!", None)
    assert time.process_time() - began < 1


def test_a_use_case_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(FilterInvalid, match="'flying'; there are chat"):
        usecase_filter("flying")


@pytest.mark.parametrize("spelling", ["chat", "CHAT", "FLAG_CHAT"])
def test_a_use_case_may_be_spelled_as_in_a_configuration(spelling: str) -> None:
    assert list_models(CONFIGS, LOOSE, usecase_filter(spelling)) == ["seer"]


def test_no_filter_is_none() -> None:
    assert name_filter("") is None
    assert usecase_filter("") is None
    assert all_of(None, None) is None


# --- Loose files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.gguf", "M.GGUF", "ggml-model.bin", "noextension", "voice.onnx", "a.safetensors"])
def test_a_model_file_is_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert loose_files(tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "MODEL_CARD", "README", "readme.md", "x.tmpl", "x.keep", "x.yaml", "x.YML", "x.json", "x.txt", "x.md", "x.MD",
        ".DS_Store", "x.", "x.gguf.partial", "x.tar.gz", "x.gguf.bak", "x.bak2", ".hidden",
    ],
)  # fmt: skip
def test_a_file_that_is_no_model_is_not_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert loose_files(tmp_path) == []


def test_folders_and_links_that_lead_out_are_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "sub.gguf").mkdir(parents=True)
    (tmp_path / "outside.gguf").touch()
    (folder / "link.gguf").symlink_to(tmp_path / "outside.gguf")
    (folder / "broken.gguf").symlink_to(tmp_path / "nothing")
    (folder / "real.gguf").touch()
    (folder / "second.gguf").symlink_to("real.gguf")
    assert loose_files(folder) == ["real.gguf", "second.gguf"]


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert loose_files(tmp_path / "none") == []


def test_a_projector_is_not_listed_as_a_model(tmp_path: Path) -> None:
    (tmp_path / "seer.yaml").write_text("name: seer\nparameters: {model: seer.gguf}\nmmproj: eyes.gguf\n")
    for name in ("seer.gguf", "eyes.gguf", "free.gguf"):
        (tmp_path / name).touch()
    assert list_models(ConfigFolder(tmp_path).all(), loose_files(tmp_path)) == ["seer", "free.gguf"]
