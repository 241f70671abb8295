"""What a backend says of its failures, as a part of a sentence."""

import pytest

from models.backend.errors import LoadRefused


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("unknown model architecture.", "The backend could not load the model: unknown model architecture."),
        (" \n", "The backend could not load the model: it gave no reason; its log may say more."),
        # A line of a log that the backend would like to be taken for the console's.
        ("no\n2026-01-01 INFO  all is well", "The backend could not load the model: no 2026-01-01 INFO all is well."),
    ],
)
def test_a_refusal_is_one_sentence_on_one_line(message: str, sentence: str) -> None:
    assert str(LoadRefused(message)) == sentence


def test_a_reason_without_end_is_cut() -> None:
    assert len(str(LoadRefused("x" * 50_000_000))) < 1100
