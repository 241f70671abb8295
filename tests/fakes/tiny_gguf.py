"""Writes a tiny llama model with random weights: a real GGUF file of about 0.6 MB that loads in no time.

Its text is gibberish, but everything else is real: tokenizer, chat template, embeddings. By hand:
`python -m tests.fakes.tiny_gguf PATH`.
"""

import sys
from pathlib import Path

import gguf
import numpy as np

LAYERS, HEADS, WIDTH, INNER, CONTEXT = 2, 4, 64, 128, 2048
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
_LETTERS = [chr(code) for code in range(33, 127)]


def write(path: Path, seed: int = 0, context: int = CONTEXT, template: str = CHAT_TEMPLATE) -> Path:
    """Write the model to `path`; the same arguments make the same bytes. Its vectors have 64 numbers.

    An answer ends when `context` (tokens) is full; a large one makes for an answer that takes long. With an
    empty `template` it is a model that was never taught to chat.
    """
    words, scores, kinds = _vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, words, scores, kinds, context)
    if template:
        writer.add_chat_template(template)
    _add_weights(writer, np.random.default_rng(seed), len(words))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Three special pieces, every byte, every letter, then syllables with and without a blank (▁) before them."""
    special = ["<unk>", "<s>", "</s>"]
    single = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["▁", *_LETTERS, *_SYLLABLES, *("▁" + syllable for syllable in _SYLLABLES)]
    normal, control, unknown = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN
    kinds = [unknown, control, control, *[gguf.TokenType.BYTE] * len(single), *[normal] * len(pieces)]
    scores = [0.0] * (len(special) + len(single)) + [-float(rank) for rank in range(len(pieces))]
    return special + single + pieces, scores, kinds


def _describe(writer: gguf.GGUFWriter, words: list[str], scores: list[float], kinds: list[int], context: int) -> None:
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(words))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _add_weights(writer: gguf.GGUFWriter, random: np.random.Generator, words: int) -> None:
    def matrix(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.08, (rows, columns)).astype(np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))

    matrix("token_embd", words, WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{layer}.{name}", WIDTH, WIDTH)
        matrix(f"blk.{layer}.ffn_gate", INNER, WIDTH)
        matrix(f"blk.{layer}.ffn_up", INNER, WIDTH)
        matrix(f"blk.{layer}.ffn_down", WIDTH, INNER)
        norm(f"blk.{layer}.attn_norm")
        norm(f"blk.{layer}.ffn_norm")
    norm("output_norm")
    matrix("output", words, WIDTH)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
