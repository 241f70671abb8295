"""A server that misbehaves, another one, and a models folder."""

from pathlib import Path

import pytest


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
