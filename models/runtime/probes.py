"""Health of the backends that are ready, asked in the background, so that no stuck one holds up the others."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from models.backend.client import BackendClient
from models.backend.errors import BackendError, Unreachable
from models.runtime.rows import Row

INTERVAL = 2.0
DEADLINE = 1.0
#: A backend that has missed this many in a row is named as busy; one whose port refused as often is deaf.
PATIENCE = 5
_THREADS = 32


class Clients:
    """One kept client an instance: a fresh connection for each call costs twice as much."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[str, BackendClient]] = {}
        self._lock = Lock()

    def get(self, instance: int, address: str) -> BackendClient:
        with self._lock:
            known, client = self._kept.get(instance, ("", None))
            if client is not None and known == address:
                return client
            if client is not None:
                client.close()
            client = BackendClient(address)
            self._kept[instance] = (address, client)
            return client

    def drop(self, instance: int) -> None:
        with self._lock:
            _, client = self._kept.pop(instance, ("", None))
        if client is not None:
            client.close()

    def close(self) -> None:
        for instance in list(self._kept):
            self.drop(instance)


@dataclass
class _Record:
    due: float = 0.0
    asking: bool = False
    missed: int = 0
    refused: int = 0


class Probes:
    """What the last answers of each instance were. Calls come from one thread, the answers from several."""

    def __init__(self, clients: Clients, interval: float | None = None) -> None:
        self._clients = clients
        self._interval = interval or INTERVAL
        self._records: dict[int, _Record] = {}
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="probe")

    def ask(self, ready: Iterable[Row]) -> None:
        """Send a probe to each of these that is due, and forget all others. Does not wait."""
        rows = {row.id: row for row in ready}
        self._records = {instance: self._records.get(instance) or _Record() for instance in rows}
        for instance, row in rows.items():
            record = self._records[instance]
            if not record.asking and time.monotonic() >= record.due:
                record.asking = True
                record.due = time.monotonic() + self._interval
                self._pool.submit(self._probe, row, record)

    def is_busy(self, instance: int) -> bool:
        record = self._records.get(instance)
        return record is not None and record.missed >= PATIENCE

    def is_deaf(self, instance: int) -> bool:
        record = self._records.get(instance)
        return record is not None and record.refused >= PATIENCE

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _probe(self, row: Row, record: _Record) -> None:
        try:
            healthy = self._clients.get(row.id, row.address).health(DEADLINE)
            record.missed = 0 if healthy else record.missed + 1
            record.refused = 0
        except Unreachable:
            record.refused += 1
        except BackendError:
            # It is there and works on something else: late is not dead.
            record.missed += 1
            record.refused = 0
        finally:
            record.asking = False
