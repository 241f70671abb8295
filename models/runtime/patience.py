"""A store that waits for the database to come back, for threads that hold a running backend in their hands."""

import logging
from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar

from models.configs import ModelConfig
from models.runtime.rows import Row, Store, StoreUnavailable
from models.states import State

log = logging.getLogger(__name__)

T = TypeVar("T")
_PAUSE = 1.0


class PatientStore:
    """Tries each call until it works, or until `hurry` is set; then it raises StoreUnavailable as any other."""

    def __init__(self, store: Store, hurry: Event) -> None:
        self._store = store
        self._hurry = hurry

    def rows(self) -> list[Row]:
        return self._insist(self._store.rows)

    def row(self, instance: int) -> Row | None:
        return self._insist(lambda: self._store.row(instance))

    def move(self, instance: int, old: State, new: State, why: str, **fields: Any) -> bool:
        return self._insist(lambda: self._store.move(instance, old, new, why, **fields))

    def update(self, instance: int, state: State, **fields: Any) -> bool:
        return self._insist(lambda: self._store.update(instance, state, **fields))

    def config(self, name: str) -> ModelConfig | None:
        return self._insist(lambda: self._store.config(name))

    def release(self) -> None:
        self._store.release()

    def _insist(self, call: Callable[[], T]) -> T:
        waited = False
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                if self._hurry.is_set():
                    raise
                if not waited:
                    log.warning("%s The backend is kept as it is until that works again.", error)
                waited = True
                self._hurry.wait(_PAUSE)
