import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from models.runtime.environment import backend_environment
from models.runtime.launch import Layout
from tests.fakes.node import FAKES, Node
from tests.fakes.store import MemoryStore


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "models").mkdir()
    layout = Layout(
        owner=f"test-{os.urandom(6).hex()}",
        backends=(FAKES,),
        models=tmp_path / "models",
        logs=tmp_path / "logs",
        environment=backend_environment(os.environ, models_path=tmp_path / "models"),
        start_seconds=15,
        load_seconds=15,
        stop_seconds=5,
    )
    made = Node(MemoryStore(layout.models), layout)
    yield made
    made.end(keep_backends=False)
    left = made.processes()
    for identity in left:
        psutil.Process(identity.pid).kill()
    assert not left, "a backend outlived the agent that should have stopped it"
