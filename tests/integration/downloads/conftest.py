"""A server that misbehaves, another one, and a models folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.http_server import Server, running


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
