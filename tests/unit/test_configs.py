"""A model's configuration is read, checked and written; a folder of them is read once and again when it changes."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from models.config_folder import ConfigFolder
from models.configs import MAX_BYTES, ConfigInvalid, parse, referenced_files, render, validate
from models.usecases import usecases

HERE = Path("model.yaml")


class CountingFolder(ConfigFolder):
    """Knows which files it has read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads: list[str] = []

    def read(self, path: Path) -> str:
        self.reads.append(path.name)
        return super().read(path)


def names(folder: ConfigFolder) -> list[str]:
    return [config.name for config in folder.all()]


# --- One file ---------------------------------------------------------------------------------------------------------


def test_a_file_holds_one_configuration() -> None:
    text = """
        name: tiny
        backend: llama-cpp
        description: A model for tests.
        context_size: 2048
        mmproj: eyes.gguf
        pinned: true
        parameters: {model: tiny.gguf}
    """
    (config,) = parse(text, HERE)
    assert (config.name, config.backend, config.model_file, config.mmproj) == (
        "tiny",
        "llama-cpp",
        "tiny.gguf",
        "eyes.gguf",
    )
    assert (config.context_size, config.description, config.path) == (2048, "A model for tests.", HERE)
    assert config.pinned
    assert not config.disabled


def test_a_file_may_hold_a_list_of_configurations() -> None:
    assert [config.name for config in parse("- name: a\n- name: b\n", HERE)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("name: said\nparameters: {model: x.gguf}", "said"),  # the name, where there is one
        ("parameters: {model: x.gguf}", "x.gguf"),  # else the model file, as LocalAI does
        ("backend: piper", "model"),  # else the file it is in
        ("name: 7", "7"),  # YAML takes it for a number, a person does not
    ],
)
def test_a_configuration_always_has_a_name(text: str, name: str) -> None:
    assert parse(text, HERE)[0].name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must hold a map"),
        ("just words", "must hold a map"),
        ("- a\n- b", "must hold a map"),
        ("a: [", "not readable YAML"),
        ("name: a\nname: b", "already set"),
        ("- name: a\n- backend: b", "no name"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(ConfigInvalid, match=says) as refused:
        parse(text, HERE)
    assert str(refused.value).startswith("model.yaml")


def test_what_is_written_reads_the_same() -> None:
    data = {"name": "ü", "parameters": {"model": "a b.gguf", "top_p": 0.95}, "f16": True, "template": {"chat": "a\nb"}}
    assert parse(render(data), HERE)[0].data == data
    assert list(parse(render(data), HERE)[0].data) == list(data)


# --- What is valid ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "a", "backend": "llama-cpp", "parameters": {"model": "sub/a.gguf"}},
        {"name": "org/model:tag", "parameters": {"model": "huggingface://org/model/file.gguf"}},
        {"name": "a", "parameters": None, "known_usecases": None, "context_size": None},
        {"name": "short", "alias": "long"},
        {"name": "a", "artifacts": [{"name": "model", "target": "model"}, {"name": "draft"}]},
        {"name": "a", "proxy": {"mode": "translate", "provider": "x", "api_key_env": "KEY"}},
    ],
)
def test_a_good_configuration_is_valid(data: dict[str, Any]) -> None:
    validate(data)


@pytest.mark.parametrize(
    ("data", "key", "value"),
    [
        ({"parameters": {"model": "/etc/passwd"}}, "parameters.model", "/etc/passwd"),
        ({"parameters": {"model": "../../secret"}}, "parameters.model", "../../secret"),
        ({"parameters": {"model": "a\x00b"}}, "parameters.model", "a\\x00b"),
        ({"parameters": {"model": ["a"]}}, "parameters.model", "['a']"),
        ({"parameters": "x.gguf"}, "parameters", "x.gguf"),
        ({"mmproj": "sub/../../x"}, "mmproj", "sub/../../x"),
        ({"draft_model": "/x"}, "draft_model", "/x"),
        ({"lora_adapter": "/x"}, "lora_adapter", "/x"),
        ({"lora_adapters": ["ok", "../x"]}, "lora_adapters", "../x"),
        ({"download_files": [{"filename": "/x"}]}, "download_files.filename", "/x"),
        ({"backend": "../evil"}, "backend", "../evil"),
        ({"backend": "a b"}, "backend", "a b"),
        ({"backend": "a\n"}, "backend", "a\\n"),
        ({"name": "../x"}, "name", "../x"),
        ({"name": "a\nb"}, "name", "a\\nb"),
        ({"name": "x" * 256}, "name", "xxx"),
        ({"context_size": "large"}, "context_size", "large"),
        ({"context_size": -1}, "context_size", "-1"),
        ({"context_size": True}, "context_size", "True"),
        ({"known_usecases": "chat"}, "known_usecases", "chat"),
        ({"alias": "b"}, "alias", "b"),
        ({"name": "a", "alias": "a"}, "alias", "a"),
        ({"name": "a", "alias": "b", "backend": "piper"}, "backend", "piper"),
        ({"name": "a", "alias": "b", "parameters": {"model": "x"}}, "parameters.model", "x"),
        ({"artifacts": [{"name": "m", "target": "other"}]}, "artifacts.target", "other"),
        ({"artifacts": [{"name": "m", "target": "model"}, {"name": "m"}]}, "artifacts.name", "m"),
        ({"artifacts": ["x"]}, "artifacts", "x"),
        ({"proxy": {"mode": "odd"}}, "proxy.mode", "odd"),
        ({"proxy": {"mode": "translate"}}, "proxy.mode", "translate"),
        ({"proxy": {"api_key_env": "A", "api_key_file": "f"}}, "proxy.api_key_file", "f"),
        ({"compression": {"ratio": 2}}, "compression.ratio", "2"),
    ],
)
def test_a_bad_configuration_is_refused_with_key_and_value(data: dict[str, Any], key: str, value: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        validate(data)
    assert key in str(refused.value)
    assert value in str(refused.value)
    assert not refused.value.retry


# --- Use cases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, set()),  # nothing says anything
        (
            {"known_usecases": ["FLAG_CHAT", "Vision", "odd"]},
            {"chat", "vision"},
        ),  # both spellings, odd ones passed over
        ({"known_usecases": ["FLAG_LLM"]}, {"chat", "completion", "edit"}),  # short for three
        ({"known_usecases": ["chat"], "embeddings": True}, {"chat", "embeddings"}),  # guesses come on top
        ({"known_usecases": ["score"], "template": {"chat": "x"}}, {"score"}),  # but not beside these two
        ({"known_usecases": ["token_classify"], "backend": "rerankers"}, {"token_classify"}),
        ({"template": {"chat": "x", "completion": "y", "edit": "z"}}, {"chat", "completion", "edit"}),
        ({"template": {"chat_message": "x"}}, {"chat"}),
        ({"template": {"use_tokenizer_template": True}, "backend": "vllm"}, {"chat"}),
        ({"template": {"use_tokenizer_template": True}, "backend": "whisper"}, {"transcript"}),  # speaks no text
        ({"template": {"use_tokenizer_template": True}, "embeddings": True}, {"embeddings"}),  # answers with numbers
        ({"router": {"policy": "x"}}, {"chat"}),
        ({"backend": "llama-cpp", "mmproj": "eyes.gguf"}, {"tokenize", "vision"}),  # a projector is for seeing
        ({"known_input_modalities": ["text", "image"]}, {"vision"}),
        ({"backend": "diffusers"}, set()),  # nothing without its pipeline
        ({"backend": "diffusers", "diffusers": {"pipeline_type": "x"}}, {"image", "video"}),
        ({"backend": "stablediffusion"}, {"image", "video"}),
        ({"backend": "whisper", "options": ["vad_only"]}, {"vad"}),
        ({"backend": "sherpa-onnx"}, {"vad", "diarization"}),
        ({"backend": "insightface"}, {"detection", "face_recognition"}),
        ({"backend": "transformers-musicgen"}, {"tts", "sound_generation"}),
        ({"backend": "rerankers"}, {"rerank"}),
        ({"reranking": True}, {"rerank"}),
        ({"backend": "trellis2cpp"}, {"3d"}),
    ],
)
def test_use_cases_are_declared_or_guessed(data: dict[str, Any], expected: set[str]) -> None:
    assert usecases(data) == expected


# --- Files ------------------------------------------------------------------------------------------------------------


def test_every_file_a_configuration_names_is_found() -> None:
    data = {
        "parameters": {"model": "./llama/a.gguf"},
        "mmproj": "mm.gguf",
        "draft_model": "draft.gguf",
        "lora_adapter": "one.bin",
        "lora_adapters": ["two.bin", "deep//three.bin"],
        "download_files": [{"filename": "extra.json"}],
        "template": {"chat": "chatml", "completion": "Text with {{.Input}}", "use_tokenizer_template": True},
        "options": ["vae_path:ae.safetensors", "tokenizer=sub/t.gguf", "use_jinja:true", "spec_p_min:0.75"],
        "artifacts": [{"name": "model", "source": {"repo": "org/name"}}, {"filename": "art.bin"}],
        "tts": {"voice": "en.onnx"},
    }
    assert referenced_files(data) == {
        "llama/a.gguf",
        "llama/a.gguf.tmpl",
        "mm.gguf",
        "draft.gguf",
        "one.bin",
        "two.bin",
        "deep/three.bin",
        "extra.json",
        "chatml.tmpl",
        "ae.safetensors",
        "sub/t.gguf",
        "art.bin",
        "en.onnx",
        "en.onnx.json",
    }


def test_the_other_parts_of_a_split_file_belong_to_the_one_that_is_named() -> None:
    files = referenced_files({"parameters": {"model": "big/m-00001-of-00003.gguf"}})
    assert {f"big/m-0000{part}-of-00003.gguf" for part in (1, 2, 3)} < files
    assert len(referenced_files({"mmproj": "m-00001-of-99999.gguf"})) == 1000


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", ".", "./", "", "a\x00b", "a\\..\\b", "hf://a/b/c", 7]
)
def test_a_name_that_leads_out_or_is_none_is_not_a_file(name: object) -> None:
    assert not referenced_files({"mmproj": name, "download_files": [{"filename": name}, name]})


# --- A folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_configurations_by_name(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text("name: alpha")
    (tmp_path / "a.yml").write_text("- name: omega\n- name: beta\n")
    folder = ConfigFolder(tmp_path)
    assert names(folder) == ["alpha", "beta", "omega"]
    config = folder.get("omega")
    assert config
    assert config.path == tmp_path / "a.yml"
    assert folder.get("gamma") is None


def test_only_yaml_files_that_are_not_hidden_are_read(tmp_path: Path) -> None:
    for name in (".hidden.yaml", "._gallery_x.yaml", "x.yaml.bak", "x.json", "index.yaml"):
        (tmp_path / name).write_text("name: not-me")
    (tmp_path / "folder.yaml").mkdir()
    folder = ConfigFolder(tmp_path, ignored=frozenset({"index.yaml"}))
    assert folder.all() == []
    assert folder.problems == []


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert ConfigFolder(tmp_path / "none").all() == []


def test_a_broken_file_is_a_problem_and_hides_none_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{broken")
    (tmp_path / "b.yaml").write_bytes(b"name: \xff\xfe")
    (tmp_path / "c.yaml").write_text("# " + "x" * MAX_BYTES)
    (tmp_path / "d.yaml").write_text("name: bad\nbackend: ../x")
    (tmp_path / "e.yaml").write_text("name: good")
    (tmp_path / "f.yaml").symlink_to("/etc/hostname")
    folder = ConfigFolder(tmp_path)
    assert names(folder) == ["good"]
    found = {path.name: sentence for path, sentence in folder.problems}
    assert set(found) == {"a.yaml", "b.yaml", "c.yaml", "d.yaml", "f.yaml"}
    assert "UTF-8" in found["b.yaml"]
    assert "larger" in found["c.yaml"]
    assert "model bad: backend is '../x'" in found["d.yaml"]
    assert "link" in found["f.yaml"]
    assert [config.name for config in folder.rejected()] == ["bad"]


def test_a_name_that_is_taken_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: same\nbackend: first")
    (tmp_path / "b.yaml").write_text("name: same\nbackend: second")
    folder = ConfigFolder(tmp_path)
    assert [config.backend for config in folder.all()] == ["first"]
    assert [(path.name, "a.yaml" in sentence) for path, sentence in folder.problems] == [("b.yaml", True)]


def test_a_change_is_seen_at_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: one")
    folder = CountingFolder(tmp_path)
    assert names(folder) == ["one"]
    file.write_text("name: other")
    assert names(folder) == ["other"]
    draft = tmp_path / "draft"
    draft.write_text("name: third")
    os.utime(draft, ns=(0, file.stat().st_mtime_ns))
    draft.replace(file)
    assert names(folder) == ["third"]
    file.unlink()
    assert names(folder) == []
    assert len(folder.reads) == 3


def test_ten_thousand_files_are_read_once_and_again_only_when_they_change(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.yaml").write_text(f"name: m{number}\n")
    folder = CountingFolder(tmp_path)
    assert len(folder.all()) == 10_000
    assert len(folder.reads) == 10_000
    assert len(folder.all()) == 10_000
    assert folder.get("m17")
    assert len(folder.reads) == 10_000
    (tmp_path / "17.yaml").write_text("name: changed\n")
    assert folder.get("changed")
    assert folder.reads[10_000:] == ["17.yaml"]


def test_threads_share_one_reading(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.yaml").write_text(f"name: m{number}\n")
    folder = CountingFolder(tmp_path)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(folder.all()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [200] * 4
    assert len(folder.reads) == 200
