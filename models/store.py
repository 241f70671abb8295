"""The supervisor's store in the database: the rows of this node, through the guarded moves of Instance."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, connection

from models.configs import ModelConfig
from models.inventory import config_folder
from models.models import Instance
from models.runtime.rows import Row, StoreUnavailable
from models.states import Desired, State


class DatabaseStore:
    """Implements models.runtime.rows.Store. Each thread has a connection of its own; a broken one is thrown away."""

    def rows(self) -> list[Row]:
        with _edge():
            return [_row(instance) for instance in Instance.objects.on_this_node().in_use()]

    def row(self, instance: int) -> Row | None:
        with _edge():
            found = Instance.objects.filter(pk=instance).first()
            return _row(found) if found else None

    def move(self, instance: int, old: State, new: State, why: str, **fields: Any) -> bool:
        with _edge():
            found = Instance.objects.filter(pk=instance).first()
            return found is not None and found.move(old, new, why, **fields)

    def update(self, instance: int, state: State, **fields: Any) -> bool:
        with _edge():
            return Instance.objects.filter(pk=instance, state=state).update(**fields) == 1

    def config(self, name: str) -> ModelConfig | None:
        return config_folder().get(name)

    def release(self) -> None:
        connection.close()


@contextmanager
def _edge() -> Iterator[None]:
    """Where the database's errors end. Outside of a transaction a broken connection is dropped, so the next is new."""
    try:
        yield
    except Error as error:
        if not connection.in_atomic_block:
            connection.close()
        raise StoreUnavailable(f"The database does not answer: {error}.") from error


def _row(instance: Instance) -> Row:
    return Row(
        id=instance.pk,
        name=instance.name,
        backend=instance.backend,
        state=State(instance.state),
        desired=Desired(instance.desired),
        reason=instance.reason,
        attempt=instance.attempt,
        next_try_at=instance.next_try_at,
        address=instance.address,
        pid=instance.pid,
        pid_started=instance.pid_started,
        ready_at=instance.ready_at,
    )
