"""Files that are there whole or not at all."""

import subprocess
import sys
from pathlib import Path

from localai_admin.lib.files import made_once


def test_a_file_that_is_made_once_keeps_its_first_text(tmp_path: Path) -> None:
    assert made_once(tmp_path / "key", "first") == "first"
    assert made_once(tmp_path / "key", "second") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o640


def test_an_empty_file_that_a_killed_process_left_is_made_good(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    assert made_once(tmp_path / "key", "text") == "text"


def test_processes_that_make_it_at_once_get_the_same_text(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from localai_admin.lib.files import made_once;"
        "sys.stdin.read(1); print(made_once(Path(sys.argv[1]), str(os.getpid())))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "key")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for process in started:
        assert process.stdin
        process.stdin.write("x")
        process.stdin.flush()
    assert len({process.communicate(timeout=20)[0] for process in started}) == 1
