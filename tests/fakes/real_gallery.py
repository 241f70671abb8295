"""LocalAI's real index where a copy lies beside the project, else one of the same size of our own making."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
ENTRIES = 1709


def real_index() -> Path | None:
    return next(ROOT.parent.glob("*/data/localai-gallery/index.yaml"), None)


def index(folder: Path) -> Path:
    """The real index, or a made one with as many entries, in the folder."""
    target = folder / "index.yaml"
    real = real_index()
    target.write_bytes(real.read_bytes() if real else made(ENTRIES))
    return target


def made(count: int) -> bytes:
    """Entries with the features of real ones: anchors and merges, null tags, unknown keys, missing files."""
    anchor = '- &base\n  name: "made-0"\n  license: apache-2.0\n  tags: [llm, gguf]\n  files: []\n'
    entries = [entry(number) for number in range(1, count)]
    return anchor.encode() + yaml.safe_dump(entries, sort_keys=False).encode() + b""


def entry(number: int) -> dict[str, object]:
    longest = "a-name-that-is-about-as-long-as-the-longest-real-one-imatrix-max"
    name = f"made-{number}-{'instruct' if number % 3 else longest}"
    file = f"{name}.Q4_K_M.gguf"
    found: dict[str, object] = {
        "name": name,
        "url": "github:mudler/LocalAI/gallery/virtual.yaml@master",
        "urls": [f"https://huggingface.co/made/{name}"],
        "description": f"# Made model {number}\n\n" + "It answers questions about many things and none. " * 20,
        "license": ("apache-2.0", "mit", "gemma", "llama3.1")[number % 4],
        "tags": None
        if number % 400 == 0
        else ["llm", "gguf", ("chat", "vision", "tts")[number % 3], f"{number % 50}b"],
        "overrides": {"backend": "llama-cpp", "known_usecases": ["chat"], "parameters": {"model": file}},
        "files": [{"filename": file, "sha256": f"{number:064x}", "uri": f"huggingface://made/{name}/{file}"}],
    }
    if number % 20 == 0:
        del found["files"]
        found["Base Model"] = "unknown keys happen"
    return found
