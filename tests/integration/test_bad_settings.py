"""What stops the start of the console says so in a sentence, without a traceback."""

import subprocess
from pathlib import Path

import pytest

from tests.fakes.console import Console


def refusal(console: Console) -> str:
    # What is missing stays missing.
    console.is_new = True
    with pytest.raises(AssertionError):
        console.start()
    assert console.process
    assert console.process.wait(10) != 0
    assert "Traceback" not in console.log
    return console.log


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("localai", "LOCALAI_GALLERIES is not JSON"),
        ('{"name": "x"}', "LOCALAI_GALLERIES must be a JSON list."),
        # Deeper than Python's reader goes.
        ("[" * 100_000, "LOCALAI_GALLERIES is not JSON"),
    ],
)
def test_galleries_that_are_no_list(tmp_path: Path, value: str, sentence: str) -> None:
    said = refusal(Console(tmp_path / "data", LOCALAI_GALLERIES=value))
    assert sentence in said
    assert "Write a list such as" in said


def test_a_database_of_another_kind(tmp_path: Path) -> None:
    said = refusal(Console(tmp_path / "data", DATABASE_URL="mysql://team:hidden-word@db.test/ai"))
    assert "DATABASE_URL is no good: it has to begin with postgres://" in said
    assert "hidden-word" not in said


def test_a_data_folder_that_cannot_be_made() -> None:
    said = refusal(Console(Path("/proc/x")))
    assert "The data folder /proc/x cannot be made" in said
    assert "Set LOCALAI_ADMIN_DATA to a folder you can write to." in said


@pytest.mark.parametrize("fresh", [True, False])
def test_a_data_folder_that_cannot_be_written_to(tmp_path: Path, fresh: bool) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if not fresh:
        (data / "secret_key").write_text("a key of an earlier start")
        for name in ("models", "backends", "logs", "starter", "run"):
            (data / name).mkdir()
    # Bound to itself, so that it can be made read-only, also for root.
    for words in (["--bind", str(data), str(data)], ["-o", "remount,bind,ro", str(data)]):
        if subprocess.run(["mount", *words], capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount: run it as root")
    try:
        said = refusal(Console(data))
    finally:
        subprocess.run(["umount", str(data)], check=True)
    assert str(data) in said
    assert "Read-only file system. Set LOCALAI_ADMIN_DATA to a folder you can write to." in said


def test_a_models_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    said = refusal(Console(tmp_path / "data", LOCALAI_MODELS_PATH=str(tmp_path / "models")))
    assert f"The folder {tmp_path / 'models'} cannot be made: File exists. Make it, or name another." in said


def test_a_database_that_is_none(tmp_path: Path) -> None:
    console = Console(tmp_path / "data")
    console.data.mkdir()
    (console.data / "db.sqlite3").write_bytes(b"garbage" * 1000)
    said = refusal(console)
    assert f"The database {console.data / 'db.sqlite3'} cannot be used: file is not a database." in said
    assert "put a copy of it back, or move it away to begin anew" in said
