from pathlib import Path

import pytest

from models.runtime import logs


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return logs.log_path(tmp_path, "gemma")


def test_the_tail_is_the_last_lines_oldest_first(log: Path) -> None:
    log.write_text("one\ntwo\nthree\n")
    assert logs.tail(log, 2) == ["two", "three"]


def test_the_tail_of_a_missing_log_is_empty(log: Path) -> None:
    assert logs.tail(log) == []
    assert logs.last_line(log) == ""


def test_a_line_without_an_end_counts(log: Path) -> None:
    log.write_text("one\ntw")
    assert logs.tail(log, 5) == ["one", "tw"]


def test_a_line_that_was_read_only_in_part_is_left_out(log: Path) -> None:
    log.write_text("a long line that does not fit\nshort\n")
    assert logs.tail(log, 5, max_bytes=12) == ["short"]


def test_only_the_end_of_a_large_log_is_read(log: Path) -> None:
    with log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, 2)
        file.write(b"\nthe end\n")
    assert logs.tail(log, 1, max_bytes=1000) == ["the end"]


def test_bytes_that_are_no_text_are_shown_as_such(log: Path) -> None:
    log.write_bytes(b"caf\xe9\n\xff\n")
    assert logs.tail(log, 5) == ["caf\ufffd", "\ufffd"]


def test_of_a_progress_bar_the_last_state_is_shown(log: Path) -> None:
    log.write_text("10 %\r50 %\r100 %\r\ndone\r\n")
    assert logs.tail(log, 5) == ["100 %", "done"]


def test_the_last_line_is_not_a_blank_one_and_not_longer_than_a_sentence_can_hold(log: Path) -> None:
    log.write_text("first\n" + "x" * 500 + "\n   \n\n")
    assert logs.last_line(log, longest=10) == "x" * 9 + "…"


def test_a_new_run_puts_the_log_of_the_last_one_aside(log: Path) -> None:
    for text in ("first", "second"):
        logs.rotate(log)
        log.write_text(text)
    logs.rotate(log)
    assert not log.exists()
    assert logs.previous_path(log).read_text() == "second"


def test_the_log_of_a_first_failure_survives_the_rotations(log: Path) -> None:
    log.write_text("why")
    logs.keep_first_failure(log)
    for _ in range(3):
        logs.rotate(log)
        log.write_text("again")
    assert logs.first_failure_path(log).read_text() == "why"


def test_a_log_that_grows_too_large_is_cut_and_its_end_kept(log: Path) -> None:
    with log.open("ab", buffering=0) as backend:
        backend.write(b"x" * 2000 + b"\nlast words\n")
        assert logs.shorten(log, limit=1000)
        backend.write(b"more\n")
    assert logs.tail(log) == ["more"]
    assert logs.last_line(logs.previous_path(log)) == "last words"


def test_a_small_log_is_not_cut(log: Path) -> None:
    log.write_text("few")
    assert not logs.shorten(log, limit=1000)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",  # a way out
        "/etc/passwd",
        "..",
        ".hidden",
        "a/b",  # models may be grouped so
        "größe\x00\n",
        "n" * 255,
        "ü" * 127,
    ],
)
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    path = logs.log_path(tmp_path, name)
    assert path.parent == tmp_path
    assert not path.name.startswith(".")
    assert len(logs.first_failure_path(path).name.encode()) <= 255


def test_no_two_names_share_a_file(tmp_path: Path) -> None:
    names = ["a", "a.first-failure", "a.log", "a.log.1", "a/b", "a%2Fb", "n" * 254, "n" * 255]
    files = [
        file
        for path in (logs.log_path(tmp_path, name) for name in names)
        for file in (path, logs.previous_path(path), logs.first_failure_path(path))
    ]
    assert len(set(files)) == len(files)
