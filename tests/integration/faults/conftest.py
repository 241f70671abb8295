from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from gallery.services import queue
from tests.fakes.http_server import Server, running
from tests.fakes.two_files import TwoFiles


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def secure() -> Iterator[Server]:
    with running(tls=True) as found:
        yield found


@pytest.fixture
def two(server: Server, as_administrator: Client, models_path: Path) -> TwoFiles:
    queue.HUEY.flush()
    return TwoFiles(server, as_administrator, models_path)
