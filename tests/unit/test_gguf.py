"""Headers of GGUF files: real ones, large ones from far away, and those that somebody wrote to do harm."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models import gguf
from models.gguf import BUDGET, FIRST_PIECE, Gguf, GgufError, Malformed, NotGguf
from tests.fakes import tiny_gguf

U8, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10


class Far:
    """Bytes that are somewhere else; `asked` are the pieces that were."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        return self.body[offset : offset + length]


class Writer:
    """Writes a header of any version, in either order of bytes."""

    def __init__(self, version: int = 3, order: str = "<") -> None:
        self.version, self.order = version, order
        self.keys: list[bytes] = []

    def size(self, number: int) -> bytes:
        return struct.pack(self.order + ("I" if self.version == 1 else "Q"), number)

    def u32(self, number: int) -> bytes:
        return struct.pack(self.order + "I", number)

    def text(self, text: str) -> bytes:
        return self.size(len(text.encode())) + text.encode()

    def add(self, key: str, kind: int, value: bytes) -> "Writer":
        self.keys.append(self.text(key) + self.u32(kind) + value)
        return self

    def number(self, key: str, number: int) -> "Writer":
        return self.add(key, U32, self.u32(number))

    def words(self, key: str, text: str) -> "Writer":
        return self.add(key, STRING, self.text(text))

    def numbers(self, key: str, *numbers: int) -> "Writer":
        return self.add(key, ARRAY, self.u32(U32) + self.size(len(numbers)) + b"".join(map(self.u32, numbers)))

    def texts(self, key: str, texts: list[str]) -> "Writer":
        return self.add(key, ARRAY, self.u32(STRING) + self.size(len(texts)) + b"".join(map(self.text, texts)))

    def done(self, tensors: bytes = b"", tensor_count: int = 0, key_count: int | None = None) -> bytes:
        counts = self.size(tensor_count) + self.size(len(self.keys) if key_count is None else key_count)
        return b"GGUF" + self.u32(self.version) + counts + b"".join(self.keys) + tensors


def llama(writer: Writer) -> Writer:
    writer.words("general.architecture", "llama").words("general.name", "Little").number("general.file_type", 15)
    writer.number("llama.block_count", 3).number("llama.embedding_length", 64).number("llama.context_length", 4096)
    return writer.number("llama.attention.head_count", 8).number("llama.attention.head_count_kv", 2)


def header(body: bytes, whole: bool = True) -> Gguf:
    return gguf.read_header(Far(body).read, whole=whole)


def test_a_real_file_tells_what_it_is(tmp_path: Path) -> None:
    found = gguf.read_file(tiny_gguf.write(tmp_path / "tiny.gguf"))
    assert (found.architecture, found.name, found.quantisation) == ("llama", "tiny", "F32")
    assert (found.block_count, found.embedding_length, found.context_length) == (2, 64, 2048)
    assert (found.head_count, found.heads_kv, found.key_length, found.value_length) == (4, [4, 4], 16, 16)
    assert (found.vocabulary, found.has_chat_template, found.complete) == (494, True, True)
    assert found.parameters == 145_472


def test_a_model_that_was_never_taught_to_chat_has_no_template(tmp_path: Path) -> None:
    assert gguf.read_file(tiny_gguf.write(tmp_path / "tiny.gguf", template="")).has_chat_template is False


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_every_version_is_read_in_both_orders_of_bytes(version: int, order: str) -> None:
    found = header(llama(Writer(version, order)).texts("tokenizer.ggml.tokens", ["a", "b"]).done())
    assert (found.version, found.architecture, found.name, found.quantisation) == (version, "llama", "Little", "Q4_K_M")
    assert (found.block_count, found.heads_kv, found.vocabulary) == (3, [2, 2, 2], 2)


def test_heads_can_differ_from_layer_to_layer() -> None:
    writer = Writer().words("general.architecture", "x").number("x.block_count", 3).number("x.embedding_length", 64)
    writer.numbers("x.attention.head_count", 4, 8, 8).numbers("x.attention.head_count_kv", 0, 2, 4)
    found = header(writer.done())
    assert (found.heads_kv, found.head_count, found.key_length) == ([0, 2, 4], 8, 8)


def test_lengths_of_keys_and_values_can_be_said() -> None:
    writer = llama(Writer()).number("llama.attention.key_length", 192).number("llama.attention.value_length", 128)
    assert (header(writer.done()).key_length, header(writer.done()).value_length) == (192, 128)


def test_of_a_file_far_away_only_the_first_piece_is_read() -> None:
    far = Far(llama(Writer()).texts("tokenizer.ggml.tokens", ["token"] * 200_000).done())
    found = gguf.read_header(far.read)
    assert far.asked == [(0, FIRST_PIECE)]
    assert (found.block_count, found.vocabulary, found.complete, found.has_chat_template) == (3, 200_000, False, None)


def test_a_header_longer_than_a_piece_is_read_by_ever_larger_pieces() -> None:
    writer = Writer().words("general.architecture", "llama").words("general.note", "x" * 300_000)
    writer.texts("general.tags", ["y" * 1000] * 300)
    far = Far(llama(writer).done())
    found = gguf.read_header(far.read)
    assert found.block_count == 3
    assert sorted(length for _, length in far.asked) == [length for _, length in far.asked]
    assert all(before[0] + before[1] <= after[0] for before, after in zip(far.asked, far.asked[1:], strict=False))


def test_numbers_of_a_long_list_are_passed_over_without_being_read() -> None:
    length = 10_000_000
    writer = Writer().add("x.scores", ARRAY, struct.pack("<IQ", F32, length) + bytes(4 * length))
    far = Far(llama(writer).done())
    assert gguf.read_header(far.read, whole=True).lengths["x.scores"] == length
    assert sum(size for _, size in far.asked) < 1 << 20


def test_a_header_that_does_not_end_within_the_budget_is_told_as_far_as_it_was_read() -> None:
    writer = llama(Writer()).texts("llama.words", ["z" * 50_000] * 400).number("llama.expert_count", 8)
    far = Far(writer.done())
    found = gguf.read_header(far.read, whole=True)
    assert (found.block_count, found.expert_count, found.complete) == (3, 0, False)
    assert sum(size for _, size in far.asked) <= BUDGET


@pytest.mark.parametrize("body", [b"", b"GG", b"PK\x03\x04 a zip", b"<html>", b"\x7fELF"])
def test_what_is_no_gguf_is_refused_by_its_first_bytes(body: bytes) -> None:
    with pytest.raises((NotGguf, Malformed)):
        header(body)


def test_a_file_cut_anywhere_is_refused_and_never_believed() -> None:
    body = llama(Writer()).texts("tokenizer.ggml.tokens", ["a", "bc"]).done(b"", 1)
    for length in range(len(body)):
        with pytest.raises(GgufError):
            header(body[:length])


def huge(writer: Writer) -> bytes:
    return writer.size(2**62)


HOSTILE: dict[str, Callable[[Writer], bytes]] = {
    "a version nobody knows": lambda w: b"GGUF" + w.u32(99) + bytes(100),
    "more keys than bytes": lambda w: w.done(key_count=2**60),
    "more tensors than any model": lambda w: w.done(tensor_count=2**60),
    "a key as long as a disk": lambda w: w.done(huge(w), key_count=1),
    "a text as long as a disk": lambda w: w.add("a", STRING, huge(w)).words("b", "c").done(),
    "a list as long as a disk": lambda w: w.add("a", ARRAY, w.u32(F32) + huge(w)).words("b", "c").done(),
    "a list of bytes as long as a disk": lambda w: w.add("a", ARRAY, w.u32(U8) + huge(w)).words("b", "c").done(),
    "a list of texts as long as a disk": lambda w: w.add("a", ARRAY, w.u32(STRING) + huge(w)).done(),
    "lists in lists in lists": lambda w: w.add("a", ARRAY, (w.u32(ARRAY) + w.size(1)) * 50_000).done(),
    "wide lists in lists": lambda w: w.add("a", ARRAY, w.u32(ARRAY) + huge(w)).done(),
    "a kind of value nobody knows": lambda w: w.add("a", 77, bytes(8)).done(),
    "a list of a kind nobody knows": lambda w: w.add("a", ARRAY, w.u32(77) + w.size(3)).done(),
    "a tensor of a million dimensions": lambda w: w.done(w.text("t") + w.u32(1_000_000), 1),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_header_is_refused_at_once_and_costs_nothing(what: str) -> None:
    far = Far(HOSTILE[what](Writer()))
    began = time.monotonic()
    with pytest.raises(GgufError):
        gguf.read_header(far.read, whole=True)
    assert time.monotonic() - began < 1
    assert all(length <= BUDGET for _, length in far.asked)


def test_a_list_of_endless_empty_texts_is_not_gone_through() -> None:
    far = Far(Writer().add("a", ARRAY, struct.pack("<IQ", STRING, 2**40) + bytes(BUDGET * 2)).done())
    with pytest.raises(gguf.GgufError, match="items"):
        gguf.read_header(far.read, whole=True)
    assert sum(size for _, size in far.asked) <= BUDGET


@pytest.mark.parametrize(
    "writer",
    [
        Writer().number("general.architecture", 7),
        Writer().words("general.architecture", "x").words("x.block_count", "many"),
        Writer().words("general.architecture", "x").add("x.block_count", F32, struct.pack("<f", float("nan"))),
        Writer().words("general.architecture", "x").add("x.block_count", U64, struct.pack("<Q", 2**63)),
        Writer().words("general.architecture", "x").numbers("x.block_count", 1, 2),
        Writer().words("general.architecture", "x").add("x.block_count", BOOL, b"\x01"),
        Writer().words("general.architecture", "\xff\x00"),
    ],
)
def test_values_of_the_wrong_kind_count_as_not_said(writer: Writer) -> None:
    found = header(writer.done())
    assert found.block_count == 0
    assert (found.heads_kv, found.key_length, found.quantisation) == ([], 0, "")


def test_a_block_count_without_end_makes_no_list_without_end() -> None:
    writer = Writer().words("general.architecture", "x").add("x.block_count", U64, struct.pack("<Q", 2**39))
    assert len(header(writer.number("x.attention.head_count", 8).done()).heads_kv) <= 4096
