"""Huey with two things added: its tasks can see that the consumer was told to stop, and its file may go away."""

import logging
import sqlite3
from pathlib import Path
from threading import Event
from typing import Any

from huey import SqliteHuey
from huey.consumer import Consumer
from huey.storage import SqliteStorage

log = logging.getLogger(__name__)


class Storage(SqliteStorage):
    """Opens its file anew, and makes its tables, when another file or none is at its path: nothing else would.

    A connection to a file that was deleted goes on working, but no other process sees what is written there.
    """

    _conn: sqlite3.Connection | None
    _opened: tuple[int, int] | None = None

    @property
    def conn(self) -> sqlite3.Connection:
        """Called with the lock held."""
        if self._conn is not None and self._opened != self._file():
            log.warning("The queue %s was deleted or replaced; it is made anew.", self.filename)
            self._conn.close()
            self._conn = None
        if self._conn is None:
            self._conn = self._create_connection()
            for sql in self.ddl:
                self._conn.execute(sql)
            self._opened = self._file()
        return self._conn

    def initialize_schema(self) -> None:
        try:
            super().initialize_schema()
        except sqlite3.OperationalError:
            # Locked, or not to be had: that passes, or somebody has to look.
            raise
        except sqlite3.DatabaseError as error:
            # Nothing is lost: the jobs are in the database, and those that wait get new messages.
            log.warning("The queue %s cannot be used (%s); it is put aside and made anew.", self.filename, error)
            Path(self.filename).replace(f"{self.filename}.broken")
            super().initialize_schema()

    def _file(self) -> tuple[int, int] | None:
        try:
            status = Path(self.filename).stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


class Queue(SqliteHuey):
    """`stopping` is set from the moment a consumer of this process is told to stop."""

    storage_class = Storage

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopping = Event()

    def create_consumer(self, **options: Any) -> Consumer:
        consumer = super().create_consumer(**options)
        self.stopping = consumer.stop_flag
        return consumer
