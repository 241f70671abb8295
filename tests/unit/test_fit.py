"""What a model needs of memory, and whether a host has it."""

from typing import Any

import pytest

from localai_admin.lib.gpu import Gpu
from models import fit
from models.fit import Fit, weights_of
from models.gguf import Gguf
from models.host import Host, Memory

GIB, MIB = 1 << 30, 1 << 20
#: As the header of an 8B model of Meta's third generation says.
LLAMA_8B = Gguf(
    3,
    291,
    {
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
        "llama.vocab_size": 128_256,
    },
)


def host(total: int, available: int | None = None, *cards: tuple[int, int]) -> Host:
    gpus = tuple(Gpu("card", size * GIB, used * GIB, None) for size, used in cards)
    return Host(Memory(total * GIB, (total if available is None else available) * GIB), gpus)


def config(**more: Any) -> dict[str, Any]:
    return {"parameters": {"model": "m.gguf"}, **more}


# Context, types of the cache, bytes: what llama.cpp prints for this model ("KV self size").
@pytest.mark.parametrize(
    ("context", "more", "expected"),
    [
        (8192, {}, 1024 * MIB),
        (32768, {}, 4096 * MIB),
        (8192, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 544 * MIB),
        (8192, {"cache_type_k": "f32", "cache_type_v": "f32"}, 2048 * MIB),
        (8192, {"cache_type_k": "q4_0"}, 656 * MIB),
        (8192, {"options": ["parallel:4"]}, 1024 * MIB),  # all answers share it
        (8192, {"cache_type_k": "of tomorrow"}, 1024 * MIB),
    ],
)
def test_the_cache_is_as_large_as_the_engine_makes_it(context: int, more: dict[str, Any], expected: int) -> None:
    assert fit.cache_bytes(config(**more), LLAMA_8B, context) == expected


def test_layers_without_a_cache_take_none() -> None:
    hybrid = Gguf(3, 0, {**LLAMA_8B.values, "llama.attention.head_count_kv": [0] * 24 + [8] * 8})
    assert fit.cache_bytes(config(), hybrid, 8192) == 256 * MIB


def test_without_flash_attention_its_scores_are_in_memory_too() -> None:
    with_it = fit.compute_bytes(config(), LLAMA_8B, 32768)
    assert fit.compute_bytes(config(flash_attention=False), LLAMA_8B, 32768) > 4 * with_it
    assert fit.compute_bytes(config(flash_attention="auto"), LLAMA_8B, 32768) == with_it


def test_with_a_header_every_part_is_named() -> None:
    weights = weights_of(config(mmproj="p.gguf"), {"m.gguf": 5 * GIB, "p.gguf": GIB})
    need = fit.need(config(mmproj="p.gguf", context_size=8192), weights, LLAMA_8B, 1024)
    assert [part.name for part in need.parts] == [
        "weights", "projector", "context of 8,192 tokens", "working memory", "the backend itself",
    ]  # fmt: skip
    assert [part.bytes for part in need.parts[:3]] == [5 * GIB, GIB, GIB]
    assert "header" in need.method
    assert 7 * GIB < need.total < 8 * GIB


def test_where_the_configuration_says_no_context_the_default_counts() -> None:
    weights = weights_of(config(), {"m.gguf": GIB})
    assert "context of 1,024 tokens" in [part.name for part in fit.need(config(), weights, LLAMA_8B, 1024).parts]
    zero = fit.need(config(context_size=0), weights, LLAMA_8B, 1024)
    assert "context of 1,024 tokens" in [part.name for part in zero.parts]


def test_without_a_header_the_files_are_counted_and_that_is_said() -> None:
    need = fit.need(config(), weights_of(config(), {"m.gguf": 10 * GIB}), None, 1024)
    assert need.total == 12 * GIB
    assert "estimate" in need.method


def test_a_file_whose_size_nobody_knows_makes_no_figure() -> None:
    assert fit.need(config(), weights_of(config(), {"m.gguf": None}), LLAMA_8B, 1024) is None
    assert fit.need(config(), weights_of(config(), {}), LLAMA_8B, 1024) is None


# Configuration, names, and which of them are model, projector, draft, adapters and the rest.
@pytest.mark.parametrize(
    ("data", "names", "expected"),
    [
        ({"parameters": {"model": "a.gguf"}}, ["a.gguf", "b.gguf", "x.tmpl"], [["a.gguf"], [], [], [], []]),
        ({}, ["a.gguf", "b.safetensors", "x.json"], [["a.gguf", "b.safetensors"], [], [], [], []]),
        (
            {"parameters": {"model": "a-00001-of-00002.gguf"}},
            ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"],
            [["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"], [], [], [], []],
        ),
        (
            {"parameters": {"model": "dir"}, "mmproj": "dir2/p.gguf"},
            ["dir/1.safetensors", "dir/2.safetensors", "dir/config.json", "dir2/p.gguf"],
            [["dir/1.safetensors", "dir/2.safetensors"], ["dir2/p.gguf"], [], [], []],
        ),
        (
            {
                "parameters": {"model": "a.gguf"},
                "draft_model": "d.gguf",
                "lora_adapters": ["l.gguf"],
                "lora_adapter": "k.bin",
            },
            ["m.gguf", "d.gguf", "l.gguf", "k.bin"],
            [["m.gguf"], [], ["d.gguf"], ["k.bin", "l.gguf"], []],
        ),
        (
            {"parameters": {"model": "a.gguf"}, "options": ["vae_path:ae.safetensors"]},
            ["a.gguf", "ae.safetensors", "unused.bin"],
            [["a.gguf"], [], [], [], ["ae.safetensors"]],
        ),
    ],
)
def test_each_file_counts_as_what_the_configuration_makes_of_it(data, names, expected) -> None:
    found = weights_of(data, dict.fromkeys(names, 1))
    parts = (found.model, found.projector, found.draft, found.adapters, found.rest)
    assert [sorted(part) for part in parts] == expected


# Need in GiB, host, and the verdict: 85 % of what there is, or more than is free, is tight.
@pytest.mark.parametrize(
    ("need", "this", "expected", "word"),
    [
        (8, host(16), Fit.FITS, "16.0 GiB of memory"),
        (14, host(16), Fit.TIGHT, "16.0 GiB"),
        (8, host(16, 6), Fit.TIGHT, "6.0 GiB are free now"),
        (17, host(16), Fit.NOT, "this host has 16.0 GiB"),
        (20, host(16, None, (24, 0)), Fit.FITS, "24.0 GiB of graphics memory"),
        (30, host(16, None, (24, 0)), Fit.FITS, "together"),
        (22, host(64, None, (24, 0)), Fit.FITS, "64.0 GiB of memory"),
        (50, host(16, None, (24, 0)), Fit.NOT, "40.0 GiB"),
        (40, host(16, None, (24, 0), (24, 0)), Fit.FITS, "48.0 GiB of graphics memory"),
        (20, host(8, None, (24, 20)), Fit.TIGHT, "4.0 GiB are free now"),
    ],
)
def test_the_verdict_is_that_of_the_best_place(need: int, this: Host, expected: Fit, word: str) -> None:
    verdict = fit.verdict(need * GIB, this)
    assert (verdict.fit, word in verdict.sentence) == (expected, True), verdict.sentence


def test_what_is_not_known_is_called_so() -> None:
    assert fit.verdict(None, host(16)).fit == Fit.UNKNOWN
    assert fit.quick(None, host(16)).fit == Fit.UNKNOWN


def test_a_card_that_was_not_asked_is_no_reason_to_say_no() -> None:
    this = Host(Memory(16 * GIB, 16 * GIB), None)
    assert fit.verdict(8 * GIB, this).fit == Fit.FITS
    assert fit.verdict(40 * GIB, this).fit == Fit.UNKNOWN


def test_a_card_that_does_not_tell_its_memory_counts_nothing() -> None:
    this = Host(Memory(16 * GIB, 16 * GIB), (Gpu("Orin", None, None, None),))
    assert fit.verdict(20 * GIB, this).fit == Fit.NOT


def test_the_quick_answer_counts_a_fifth_on_top_of_the_files() -> None:
    assert fit.quick(10 * GIB, host(16)).fit == Fit.FITS
    assert fit.quick(12 * GIB, host(16)).fit == Fit.TIGHT
    assert fit.quick(14 * GIB, host(16)).fit == Fit.NOT
