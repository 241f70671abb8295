"""Kills of the worker in the middle of installs: each comes to a good end, and next to nothing is fetched twice."""

import random
from pathlib import Path

import pytest

from tests.fakes import kill_lanes

pytestmark = pytest.mark.timeout(180)


def test_every_kill_has_a_good_end_and_costs_less_than_a_part(tmp_path: Path) -> None:
    seed = random.Random().randrange(10_000)
    kinds = kill_lanes.run([kill_lanes.Lane(tmp_path / "lane", 10, seed, short=True)])
    assert kill_lanes.print_summary(kinds), f"with seed {seed}: see what was printed"
    assert sum(kind.kills for kind in kinds.values()) >= 10
