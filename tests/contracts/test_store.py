"""What every store of the supervisor keeps to: the one in the database, and the one in memory that tests use."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from models.models import Instance, InstanceEvent
from models.runtime.rows import Store, StoreUnavailable
from models.states import Desired, State
from models.store import DatabaseStore
from tests.fakes.store import MemoryStore

Fixture = tuple[Store, Callable[..., int]]
NOW = datetime(2026, 8, 22, 12, tzinfo=UTC)


def in_memory(models_path: Path) -> Fixture:
    store = MemoryStore(models_path)
    return store, lambda name, **fields: store.add(name, **fields).id


def in_database(models_path: Path) -> Fixture:
    def add(name: str, **fields: object) -> int:
        return Instance.objects.create(name=name, node="local", **fields).pk

    return DatabaseStore(), add


@pytest.fixture(params=[in_memory, in_database])
def fixture(request: pytest.FixtureRequest, models_path: Path, db: None) -> Fixture:
    return request.param(models_path)


def test_rows_are_those_wanted_or_not_at_rest(fixture: Fixture) -> None:
    store, add = fixture
    add("at rest")
    add("wanted", desired=Desired.RUNNING)
    add("running", state=State.READY)
    assert {row.name for row in store.rows()} == {"wanted", "running"}


def test_a_row_has_everything_that_was_recorded(fixture: Fixture) -> None:
    store, add = fixture
    recorded = {
        "pid": 12,
        "pid_started": 5.5,
        "address": "127.0.0.1:9",
        "ready_at": NOW,
        "attempt": 2,
        "backend": "good",
    }
    row = store.row(add("gemma", state=State.READY, desired=Desired.RUNNING, **recorded))
    assert row is not None
    assert {name: getattr(row, name) for name in recorded} == recorded
    assert row.identity is not None
    assert (row.state, row.desired, row.identity.pid) == (State.READY, Desired.RUNNING, 12)


def test_an_instance_that_is_gone_is_none_and_moves_nowhere(fixture: Fixture) -> None:
    store, _ = fixture
    assert store.row(999) is None
    assert not store.move(999, State.STOPPED, State.STARTING, "")
    assert not store.update(999, State.STOPPED, pid=1)


def test_a_move_changes_state_reason_and_fields(fixture: Fixture) -> None:
    store, add = fixture
    instance = add("gemma")
    assert store.move(instance, State.STOPPED, State.STARTING, "as wished", pid=7, pid_started=1.0)
    row = store.row(instance)
    assert row is not None
    assert (row.state, row.reason, row.pid) == (State.STARTING, "as wished", 7)


def test_who_comes_second_changes_nothing(fixture: Fixture) -> None:
    store, add = fixture
    instance = add("gemma")
    assert store.move(instance, State.STOPPED, State.STARTING, "first")
    assert not store.move(instance, State.STOPPED, State.FAILED, "second")
    row = store.row(instance)
    assert row is not None
    assert (row.state, row.reason) == (State.STARTING, "first")


def test_a_move_that_is_never_allowed_is_an_error(fixture: Fixture) -> None:
    store, add = fixture
    instance = add("gemma")
    with pytest.raises(ValueError, match="cannot go from stopped to ready"):
        store.move(instance, State.STOPPED, State.READY, "")


def test_an_update_is_guarded_by_the_state_too(fixture: Fixture) -> None:
    store, add = fixture
    instance = add("gemma", state=State.STARTING)
    assert store.update(instance, State.STARTING, pid=7)
    assert not store.update(instance, State.READY, pid=8)
    row = store.row(instance)
    assert row is not None
    assert row.pid == 7


def test_a_model_without_a_configuration_has_none(fixture: Fixture, models_path: Path) -> None:
    store, _ = fixture
    assert store.config("gemma") is None
    (models_path / "gemma.yaml").write_text("name: gemma\nbackend: good\n")
    config = store.config("gemma")
    assert config is not None
    assert config.backend == "good"


def test_every_move_is_kept_as_an_event(db: None, tmp_path: Path) -> None:
    store, add = in_database(tmp_path)
    instance = add("gemma")
    store.move(instance, State.STOPPED, State.STARTING, "as wished")
    event = InstanceEvent.objects.get(instance=instance)
    assert (event.from_state, event.to_state, event.why, event.by) == ("stopped", "starting", "as wished", "agent")


def test_another_nodes_instances_are_not_ours(db: None, tmp_path: Path) -> None:
    Instance.objects.create(name="gemma", node="elsewhere", state=State.READY)
    assert DatabaseStore().rows() == []


def test_a_broken_database_is_said_in_the_stores_own_words(db: None, tmp_path: Path) -> None:
    def locked(*_: object) -> None:
        raise OperationalError("database is locked")

    store = DatabaseStore()
    with connection.execute_wrapper(locked):
        for call in (store.rows, lambda: store.row(1), lambda: store.update(1, State.READY, pid=1)):
            with pytest.raises(StoreUnavailable, match="database is locked"):
                call()


def test_a_store_in_memory_can_be_away(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        MemoryStore(tmp_path, away=True).rows()
