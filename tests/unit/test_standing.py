"""What a person is told of an instance, as every page says it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from models.models import Instance
from models.runtime.reasons import BUSY
from models.standing import NEVER_LOADED, standing
from models.states import Desired, State

NOW = timezone.now()


def instance(state: State, desired: Desired = Desired.RUNNING, **fields: object) -> Instance:
    return Instance(name="m", state=state, desired=desired, state_since=NOW - timedelta(hours=1), **fields)


def test_a_model_that_has_no_instance_was_never_loaded_and_can_be() -> None:
    assert standing(None) == NEVER_LOADED
    assert standing(None).offers_load


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        (State.READY, "the model is loaded", ""),  # as it should be
        (State.READY, BUSY, BUSY),  # ready, but silent
        (State.FAILED, "it broke", "it broke"),
        (State.BACKOFF, "it broke", "it broke"),
    ],
)
def test_a_reason_is_told_unless_all_is_as_it_should_be(state: State, reason: str, told: str) -> None:
    assert standing(instance(state, reason=reason)).reason == told


def test_a_wish_that_nobody_has_begun_is_told_since_it_was_made() -> None:
    found = standing(instance(State.STOPPED, desired_at=NOW))
    assert found.moving
    assert found.since == NOW
    assert "requested" in found.reason


def test_what_gave_up_offers_to_load_though_it_is_wanted_and_what_runs_does_not() -> None:
    assert standing(instance(State.FAILED)).offers_load
    assert not standing(instance(State.READY)).offers_load
    assert not standing(instance(State.BACKOFF)).offers_load


def test_the_next_try_is_told_only_while_it_is_waited_for() -> None:
    assert standing(instance(State.BACKOFF, next_try_at=NOW)).next_try_at == NOW
    assert standing(instance(State.STARTING, next_try_at=NOW)).next_try_at is None
