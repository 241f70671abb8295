"""What the header of a GGUF file says about its model, read from a few pieces of the file.

The file was written by somebody else: every count and length in it is only believed as far as bytes for it come.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from models.gguf_reader import (
    ARRAY,
    FIRST_PIECE,
    KEPT_NUMBERS,
    GgufError,
    Malformed,
    NotGguf,
    OutOfBudget,
    Read,
    Reader,
    Value,
)

__all__ = ["BUDGET", "FIRST_PIECE", "Gguf", "GgufError", "Malformed", "NotGguf", "read_file", "read_header"]

MAGIC = b"GGUF"
#: At most so much of a file is read. Bytes.
BUDGET = 8 << 20
#: How the numbers of general.file_type are called.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
}  # fmt: skip


@dataclass(frozen=True)
class Gguf:
    """The header as far as it was read. `complete` tells whether that was to the end of the tensors' table.

    `values` has scalars and short lists of numbers by key; `lengths` the number of items of every list that was met.
    `parameters` counts the weights, None unless the table was read.
    """

    version: int
    tensors: int
    values: dict[str, Value] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    parameters: int | None = None
    complete: bool = False

    @property
    def architecture(self) -> str:
        return self._text("general.architecture")

    @property
    def name(self) -> str:
        return self._text("general.name")

    @property
    def size_label(self) -> str:
        """Such as 8B, as whoever made the file wrote it."""
        return self._text("general.size_label")

    @property
    def quantisation(self) -> str:
        """Such as Q4_K_M; empty when it is not said."""
        said = "general.file_type" in self.values
        return _FILE_TYPES.get(self._number("general.file_type"), "") if said else ""

    @property
    def block_count(self) -> int:
        return self.of_model("block_count")

    @property
    def embedding_length(self) -> int:
        return self.of_model("embedding_length")

    @property
    def context_length(self) -> int:
        """Tokens the model was trained for; 0 when it is not said."""
        return self.of_model("context_length")

    @property
    def head_count(self) -> int:
        """Of the widest layer."""
        return max(self.by_layer("attention.head_count"), default=0)

    @property
    def heads_kv(self) -> list[int]:
        """Key and value heads of each layer. Where nothing is said of them, as many as there are heads."""
        return self.by_layer("attention.head_count_kv") or self.by_layer("attention.head_count")

    @property
    def key_length(self) -> int:
        return self.of_model("attention.key_length") or self._per_head

    @property
    def value_length(self) -> int:
        return self.of_model("attention.value_length") or self._per_head

    @property
    def expert_count(self) -> int:
        return self.of_model("expert_count")

    @property
    def vocabulary(self) -> int:
        """Number of tokens; 0 when it is not said."""
        return self.of_model("vocab_size") or self.lengths.get("tokenizer.ggml.tokens", 0)

    @property
    def has_chat_template(self) -> bool | None:
        """None when the header was not read so far."""
        if "tokenizer.chat_template" in self.values:
            return True
        return False if self.complete else None

    def of_model(self, key: str) -> int:
        """A number of the architecture; 0 when it is not said."""
        return self._number(f"{self.architecture}.{key}")

    def by_layer(self, key: str) -> list[int]:
        """One number for each layer, also when the file has one for all; none when it is not said."""
        value = self.values.get(f"{self.architecture}.{key}")
        if isinstance(value, list):
            return [int(number) for number in value[: self.block_count] if _is_number(number)]
        return [int(value)] * min(self.block_count, KEPT_NUMBERS) if _is_number(value) else []

    @property
    def _per_head(self) -> int:
        return self.embedding_length // self.head_count if self.head_count else 0

    def _number(self, key: str) -> int:
        value = self.values.get(key)
        return int(value) if _is_number(value) and 0 <= value < 1 << 40 else 0

    def _text(self, key: str) -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else ""


def read_header(read: Read, *, whole: bool = False, budget: int = BUDGET) -> Gguf:
    """What the header says, by as few pieces as possible: up to the tokenizer's lists, which are long.

    With `whole`, for a file that is near, to the end of the tensors' table. A header that goes on behind the budget
    (bytes) is answered with what was read of it. Raises GgufError; and whatever `read` raises.
    """
    reader = Reader(read, budget)
    if (magic := reader.take(4)) != MAGIC:
        raise NotGguf(f"This is no GGUF file: it begins with the bytes {magic.hex(' ')}.")
    reader.find_order()
    tensors, keys = reader.counts()
    return _filled(reader, Gguf(reader.version, tensors), keys, whole)


def read_file(path: Path, *, whole: bool = True) -> Gguf:
    """Of a file on this machine. Raises GgufError, OSError."""
    with path.open("rb", buffering=0) as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        return read_header(read, whole=whole, budget=64 << 20)


def _filled(reader: Reader, header: Gguf, keys: int, whole: bool) -> Gguf:
    try:
        for _ in range(keys):
            key = reader.key()
            if not whole and key.startswith("tokenizer.ggml.tokens") and header.block_count:
                header.lengths[key] = reader.length_of_array()
                return header
            _keep(reader, header, key)
        parameters = reader.count_parameters(header.tensors) if whole else None
    except OutOfBudget:
        return header
    return Gguf(header.version, header.tensors, header.values, header.lengths, parameters, complete=True)


def _keep(reader: Reader, header: Gguf, key: str) -> None:
    kind = reader.unsigned(4)
    if kind == ARRAY:
        length, numbers = reader.array()
        header.lengths[key] = length
        if numbers is not None:
            header.values[key] = numbers
    else:
        header.values[key] = reader.scalar(kind)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 62
