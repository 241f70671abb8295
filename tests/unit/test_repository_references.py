import pytest

from gallery.hub.errors import HubError
from gallery.hub.references import Reference, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("o/r", Reference("o/r")),
        ("  Qwen/Qwen3-8B-GGUF ", Reference("Qwen/Qwen3-8B-GGUF")),
        ("o/r@dev", Reference("o/r", "dev")),
        ("o/r@refs/pr/3", Reference("o/r", "refs", "pr/3")),  # only a link tells a slash in a branch from a path
        ("o/r:Q4_K_M", Reference("o/r", wanted="Q4_K_M")),
        ("hf.co/o/r:Q4_K_M", Reference("o/r", wanted="Q4_K_M")),
        ("o/r/sub/f.gguf", Reference("o/r", path="sub/f.gguf")),
        ("huggingface://o/r/f.gguf@dev", Reference("o/r", "dev", "f.gguf")),
        ("hf://o/r@dev/f.gguf", Reference("o/r", "dev", "f.gguf")),
        ("https://huggingface.co/o/r", Reference("o/r")),
        ("https://huggingface.co/o/r/", Reference("o/r")),
        ("https://huggingface.co/o/r/tree/dev", Reference("o/r", "dev")),
        ("https://huggingface.co/o/r/blob/main/sub/f%20x.gguf?download=true", Reference("o/r", "main", "sub/f x.gguf")),
        ("https://huggingface.co/o/r/resolve/refs%2Fpr%2F3/f.gguf", Reference("o/r", "refs/pr/3", "f.gguf")),
        ("huggingface.co/o/r/blob/main/f.gguf", Reference("o/r", "main", "f.gguf")),
        ("https://mirror.test/o/r/tree/main", Reference("o/r", "main")),
    ],
)
def test_a_repository_is_found_in_what_people_write(text: str, expected: Reference) -> None:
    assert parse(text, "https://mirror.test") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpt2",
        "../r",
        "o/..",
        "o/r@../../x",
        "o/r\nx",
        "o r/x",
        "https://example.org/o/r",
        "https://huggingface.co/datasets/o/r",
        "https://huggingface.co/spaces/o/r",
        "https://[bad",
        "javascript:alert(1)",
        "o/r" + "x" * 3000,
        "file:///etc/passwd",
        "o/\u202er",
    ],
)
def test_what_is_no_repository_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(HubError) as refused:
        parse(text)
    assert "owner/repo" in refused.value.action or "model's repository" in refused.value.action
