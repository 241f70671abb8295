"""A model's configuration in the words of the backend protocol."""

from pathlib import Path
from typing import Any

import pytest

from models.backend.options import model_options, predict_options
from models.backend.proto import backend_pb2
from models.configs import ConfigInvalid

FOLDER = Path("/models")


def options(data: dict[str, Any], **defaults: int) -> backend_pb2.ModelOptions:
    return model_options(data, models_path=FOLDER, **defaults)


# Loading


def test_a_configuration_that_says_nothing_gets_the_defaults() -> None:
    made = options({}, threads=3, context_size=2048)
    assert (made.Threads, made.ContextSize, made.NBatch, made.Seed) == (3, 2048, 512, -1)
    assert made.NGPULayers == 99_999_999
    assert made.MMap
    assert made.FlashAttention == "auto"
    assert not made.Model
    assert not made.ModelFile
    assert made.ModelPath == "/models"


def test_what_the_configuration_says_goes_before_the_defaults() -> None:
    data = {"threads": 2, "context_size": 4096, "gpu_layers": 0, "mmap": False, "parameters": {"batch": 64, "seed": 7}}
    made = options(data, threads=9, context_size=9)
    assert (made.Threads, made.ContextSize, made.NGPULayers, made.MMap) == (2, 4096, 0, False)
    assert (made.NBatch, made.Seed) == (64, 7)


@pytest.mark.parametrize("value", [0, -1, None])
def test_a_context_size_of_nothing_is_the_default(value: int | None) -> None:
    assert options({"context_size": value}, context_size=1024).ContextSize == 1024


def test_a_model_file_is_named_in_every_way_a_backend_may_read_it() -> None:
    made = options({"parameters": {"model": "a/x.gguf"}, "mmproj": "p.gguf", "draft_model": "d.gguf"})
    assert (made.Model, made.ModelFile, made.ModelPath) == ("a/x.gguf", "/models/a/x.gguf", "/models")
    assert (made.MMProj, made.DraftModel) == ("/models/p.gguf", "/models/d.gguf")


def test_a_folder_is_named_by_its_full_path(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    made = model_options({"parameters": {"model": "bert"}}, models_path=tmp_path)
    assert made.Model == made.ModelFile == str(tmp_path / "bert")


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.gguf", "a/../../x"])
@pytest.mark.parametrize("key", ["model", "mmproj", "draft_model"])
def test_a_file_outside_the_models_folder_is_refused(key: str, name: str) -> None:
    data = {"parameters": {"model": name}} if key == "model" else {key: name}
    with pytest.raises(ConfigInvalid, match="inside the models folder"):
        options(data)


def test_every_kind_of_value_reaches_its_field() -> None:
    data = {
        "f16": True,
        "embeddings": True,
        "lora_adapters": ["a", "b"],
        "lora_scales": [0.5, 1],
        "options": ["parallel:2"],
        "rope_freq_base": 10000,
        "type": "AutoModel",
        "diffusers": {"cuda": True, "pipeline_type": "StableDiffusionPipeline", "clip_skip": 2},
        "limit_mm_per_prompt": {"image": 4},
        "engine_args": {"max_num_seqs": 8},
        "cache_type_k": "q8_0",
    }
    made = options(data)
    assert made.F16Memory
    assert made.Embeddings
    assert made.CUDA
    assert list(made.LoraAdapters) == ["a", "b"]
    assert list(made.LoraScales) == [0.5, 1.0]
    assert list(made.Options) == ["parallel:2"]
    assert made.RopeFreqBase == 10000
    assert (made.Type, made.PipelineType, made.CLIPSkip) == ("AutoModel", "StableDiffusionPipeline", 2)
    assert made.LimitImagePerPrompt == 4
    assert made.EngineArgs == '{"max_num_seqs": 8}'
    assert made.CacheTypeKey == "q8_0"


def test_a_model_that_takes_its_input_whole_gets_room_for_it() -> None:
    assert options({"embeddings": True, "context_size": 8192}).NBatch == 8192
    assert options({"embeddings": True, "context_size": 8192, "parameters": {"batch": 256}}).NBatch == 256


# A switch in 2024, a text since.
@pytest.mark.parametrize(("value", "word"), [(True, "on"), (False, "off"), ("auto", "auto"), ("on", "on")])
def test_flash_attention_may_be_a_switch_or_a_text(value: object, word: str) -> None:
    assert options({"flash_attention": value}).FlashAttention == word


WRONG = [
    ({"context_size": "big"}, "context_size is 'big'"),
    ({"context_size": 1.5}, "context_size is 1.5"),
    ({"context_size": 2**40}, "below 2147483647"),
    ({"threads": True}, "threads is True"),
    ({"mmap": "yes"}, "mmap is 'yes'; it must be true or false"),
    ({"options": {"a": 1}}, "options is"),
    ({"options": [["a"]]}, "list of texts"),
    ({"lora_scales": ["a"]}, "list of numbers"),
    ({"parameters": "x.gguf"}, "parameters is 'x.gguf'; it must be a map"),
    ({"parameters": {"model": ["x"]}}, "parameters.model is"),
    ({"rope_freq_base": float("nan")}, "rope_freq_base is nan"),
]


@pytest.mark.parametrize(("data", "sentence"), WRONG)
def test_a_value_of_the_wrong_kind_is_refused_by_name(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigInvalid, match=sentence):
        options(data)


# Asking


def test_a_prompt_gets_the_defaults() -> None:
    made = predict_options({}, "hi")
    assert made.Prompt == "hi"
    assert not made.UseTokenizerTemplate
    assert (made.TopK, made.Seed, made.Tokens) == (40, -1, 0)
    assert made.Temperature == pytest.approx(0.9)
    assert made.TopP == pytest.approx(0.95)
    assert (made.TypicalP, made.Penalty) == (1.0, 1.0)


def test_a_prompt_is_asked_as_the_configuration_says() -> None:
    parameters = {
        "model": "x.gguf",
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "max_tokens": 9,
        "seed": 4,
        "min_p": 0.1,
    }
    made = predict_options({"parameters": parameters, "stopwords": ["</s>", "User:"]}, "hi", correlation_id="c1")
    assert (made.Temperature, made.TopP, made.TopK, made.Tokens, made.Seed) == (0.0, 0.5, 3, 9, 4)
    assert made.MinP == pytest.approx(0.1)
    assert list(made.StopPrompts) == ["</s>", "User:"]
    assert made.CorrelationId == "c1"


def test_the_caller_may_choose_length_and_temperature() -> None:
    made = predict_options({"parameters": {"max_tokens": 9, "temperature": 1}}, "hi", max_tokens=2, temperature=0.5)
    assert (made.Tokens, made.Temperature) == (2, 0.5)


def test_a_conversation_is_left_to_the_models_template() -> None:
    made = predict_options({}, messages=[("system", "be brief"), ("user", "hi")])
    assert made.UseTokenizerTemplate
    assert [(said.role, said.content) for said in made.Messages] == [("system", "be brief"), ("user", "hi")]
    assert not made.Prompt


def test_only_a_single_file_is_asked_for_by_name() -> None:
    assert predict_options({"parameters": {"model": "a/x.GGUF"}}, "hi").ModelIdentity == "a/x.GGUF"
    assert not predict_options({"parameters": {"model": "bert"}}, "hi").ModelIdentity


def test_a_prompt_and_a_conversation_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="either"):
        predict_options({}, "hi", [("user", "hi")])
    with pytest.raises(ValueError, match="either"):
        predict_options({})
    assert predict_options({}, "").Prompt == ""


# The numbers of the protocol


def numbers(message: Any) -> dict[str, int]:
    return {field.name: field.number for field in message.DESCRIPTOR.fields}


def test_the_fields_have_the_numbers_of_the_protocol() -> None:
    predict, model = numbers(backend_pb2.PredictOptions), numbers(backend_pb2.ModelOptions)
    assert len(predict) == 53
    assert (predict["Prompt"], predict["LogitBias"], predict["MLock"], predict["ModelIdentity"]) == (1, 23, 25, 54)
    assert (predict["UseTokenizerTemplate"], predict["Messages"], predict["CorrelationId"]) == (43, 44, 47)
    assert (model["ModelFile"], model["PipelineType"], model["ModelPath"], model["EnableScore"]) == (21, 26, 59, 75)
    assert numbers(backend_pb2.Reply)["timing_token_generation"] == 5
    assert numbers(backend_pb2.MetricsResponse)["tokens_generated"] == 4
    assert backend_pb2.StatusResponse.State.items() == [("UNINITIALIZED", 0), ("BUSY", 1), ("READY", 2), ("ERROR", -1)]
