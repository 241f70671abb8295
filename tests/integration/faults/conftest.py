import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from gallery.services import queue
from tests.fakes.http_server import Server, running
from tests.fakes.two_files import TwoFiles
from tests.fakes.workers import child


@pytest.fixture
def secure() -> Iterator[Server]:
    with running(tls=True) as found:
        yield found


@pytest.fixture
def two(server: Server, as_administrator: Client, models_path: Path) -> TwoFiles:
    queue.HUEY.flush()
    return TwoFiles(server, as_administrator, models_path)


@pytest.fixture(scope="package")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    child(folder, "from django.core.management import call_command; call_command('migrate', verbosity=0)")
    return folder


@pytest.fixture
def data(_migrated: Path, tmp_path: Path) -> Path:
    """A data folder with a database in a file, so that several processes can work on it."""
    return shutil.copytree(_migrated, tmp_path / "data")
