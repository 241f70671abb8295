from datetime import UTC, datetime, timedelta

import pytest

from models.runtime.reconcile import Seen, Step, Work, decide
from models.runtime.rows import Row
from models.states import Desired, State

NOW = datetime(2026, 8, 22, 12, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(seconds=5), NOW - timedelta(seconds=5)
GONE, ALIVE, DEAF = Seen(alive=False), Seen(alive=True), Seen(alive=True, deaf=True)
RUNNING, STOPPED = Desired.RUNNING, Desired.STOPPED


def row(state: State, desired: Desired, *, attempt: int = 0, next_try_at: datetime | None = None) -> Row:
    return Row(1, "gemma", "good", state, desired, attempt=attempt, next_try_at=next_try_at)


@pytest.mark.parametrize(
    ("given", "seen", "step"),
    [
        (row(State.STOPPED, RUNNING), GONE, Step.START),
        (row(State.STOPPED, STOPPED), GONE, Step.NONE),
        (row(State.BACKOFF, RUNNING, next_try_at=LATER), GONE, Step.NONE),
        (row(State.BACKOFF, RUNNING, next_try_at=EARLIER), GONE, Step.START),
        (row(State.BACKOFF, RUNNING), GONE, Step.START),  # a new wish cleared the wait
        (row(State.BACKOFF, STOPPED, next_try_at=LATER), GONE, Step.REST),
        (row(State.FAILED, RUNNING, attempt=5), GONE, Step.NONE),
        (row(State.FAILED, RUNNING, attempt=0), GONE, Step.START),  # a new wish cleared the failures
        (row(State.FAILED, STOPPED, attempt=5), GONE, Step.REST),
        (row(State.FAILED, STOPPED, attempt=1), ALIVE, Step.NONE),  # it could not be killed: it stays in sight
        (row(State.READY, RUNNING), ALIVE, Step.NONE),
        (row(State.READY, RUNNING), GONE, Step.LOST),
        (row(State.READY, RUNNING), DEAF, Step.DEAF),
        (row(State.READY, STOPPED), ALIVE, Step.STOP),
        (row(State.READY, STOPPED), GONE, Step.STOP),  # it ended by itself: as wished
        (row(State.STARTING, RUNNING), ALIVE, Step.HALF_STARTED),  # nobody works on it
        (row(State.LOADING, RUNNING), ALIVE, Step.HALF_STARTED),
        (row(State.LOADING, STOPPED), ALIVE, Step.STOP),
        (row(State.STOPPING, RUNNING), ALIVE, Step.STOP),  # first to an end, then it is started again
        (row(State.UNKNOWN, RUNNING), ALIVE, Step.ADOPT),
        (row(State.UNKNOWN, STOPPED), GONE, Step.ADOPT),
    ],
)
def test_the_next_step_follows_from_what_is_wanted_recorded_and_seen(given: Row, seen: Seen, step: Step) -> None:
    assert decide(given, seen, NOW) is step


@pytest.mark.parametrize("state", list(State))
def test_a_stop_wish_interrupts_a_start_that_is_under_way(state: State) -> None:
    assert decide(row(state, STOPPED), Seen(alive=True, work=Work.START), NOW) is Step.INTERRUPT


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("work", list(Work))
def test_an_instance_has_one_thing_under_way_at_a_time(state: State, work: Work) -> None:
    assert decide(row(state, RUNNING), Seen(alive=False, work=work), NOW) is Step.NONE
