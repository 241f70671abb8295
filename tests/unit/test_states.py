"""The states of jobs and instances, and what the pages and the rules know of them."""

import pytest

from gallery import states as jobs
from localai_admin.templatetags.console import TONES
from models import states as instances


def test_every_state_has_a_tone() -> None:
    assert {*jobs.State, *instances.State} <= set(TONES)


@pytest.mark.parametrize("states", [jobs, instances])
def test_every_state_has_its_moves_and_can_be_reached(states) -> None:
    assert set(states.MOVES) == set(states.State)
    assert set().union(*states.MOVES.values()) == set(states.State)


def test_every_job_is_active_or_has_ended() -> None:
    assert set(jobs.State) == jobs.ACTIVE | jobs.ENDED
    assert not jobs.ACTIVE & jobs.ENDED
