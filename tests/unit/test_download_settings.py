"""Where Hugging Face is, and whether its scan counts, as the environment says it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SHOW = "from localai_admin import settings as s; print(s.HF_ENDPOINTS, s.HF_SCAN, s.REGISTRY_AUTH)"


def shown(folder: Path, **said: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF", "LOCALAI"))}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW], env=kept | said | {"LOCALAI_ADMIN_DATA": str(folder)}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "('https://huggingface.co',) block {}"),
        ({"HF_ENDPOINT": "https://e"}, "('https://e',) block {}"),
        # A mirror comes first, whatever else is set.
        ({"HF_ENDPOINT": "https://e", "HF_MIRROR": "m"}, "('m', 'https://e') block {}"),
        ({"HF_ENDPOINT": "https://e", "HF": "h"}, "('h', 'https://e') block {}"),
        ({"HF": "h", "HF_MIRROR": "m"}, "('m',) block {}"),
        ({"LOCALAI_ADMIN_HF_SCAN": "Warn"}, "('https://huggingface.co',) warn {}"),
        ({"LOCALAI_DISABLE_PREDOWNLOAD_SCAN": "true"}, "('https://huggingface.co',) off {}"),
    ],
)
def test_what_is_set_counts_in_its_order(tmp_path: Path, said: dict[str, str], expected: str) -> None:
    assert shown(tmp_path, **said) == expected


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LOCALAI_ADMIN_HF_SCAN", "maybe", "it takes block, warn or off"),
        ("LOCALAI_ADMIN_REGISTRY_AUTH", "me:secret", "must be a JSON map of texts"),
    ],
)
def test_what_is_no_good_stops_the_start(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    said = shown(tmp_path, **{name: value})
    assert sentence in said
    assert "me:secret" not in said.splitlines()[-1]
