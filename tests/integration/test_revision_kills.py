"""A worker that is killed at any step of an update or of a roll back leaves one revision or the other, whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.console import ROOT

pytestmark = pytest.mark.timeout(300)

#: Fewer than the moves alone would mean that the steps were not counted.
LEAST = 30


@pytest.mark.parametrize("kind", ["update", "rollback"])
def test_a_kill_at_every_step_leaves_one_whole_revision(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fakes.revision_crashes", str(tmp_path / "world"), kind]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    assert int(ended.stdout.split()[-2]) >= LEAST
