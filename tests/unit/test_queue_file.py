"""The file of the queue may go away under the processes that use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.consumer import Storage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite3"


@pytest.fixture
def storages(file: Path) -> Iterator[tuple[Storage, Storage]]:
    """Of two processes: one that has used the file already, and one that has not."""
    pair = Storage("q", filename=str(file)), Storage("q", filename=str(file))
    pair[0].enqueue(b"before")
    yield pair
    for storage in pair:
        storage.close()


@pytest.mark.parametrize("endings", [("", "-wal", "-shm"), ("",)], ids=["all of it", "without its log"])
def test_a_queue_that_is_deleted_is_made_anew_for_everybody(
    file: Path, storages: tuple[Storage, Storage], endings: tuple[str, ...]
) -> None:
    for ending in endings:
        file.with_name(file.name + ending).unlink()
    reader, writer = storages
    writer.enqueue(b"after")
    assert reader.dequeue() == b"after"
    assert reader.dequeue() is None
    reader.enqueue(b"and back")
    assert writer.dequeue() == b"and back"


def test_a_queue_that_is_no_database_is_put_aside(file: Path) -> None:
    file.write_bytes(b"garbage" * 1000)
    storage = Storage("q", filename=str(file))
    storage.enqueue(b"after")
    assert storage.dequeue() == b"after"
    storage.close()
    assert file.with_name("queue.sqlite3.broken").read_bytes().startswith(b"garbage")
