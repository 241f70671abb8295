"""What was asked for lately is kept, and no more than that."""

import pytest

from localai_admin.lib.recent import Recent


def never() -> str:
    raise AssertionError("it was kept")


def test_what_was_asked_for_last_is_kept_and_the_oldest_goes() -> None:
    kept: Recent[str, str] = Recent(2)
    assert [kept.get(key, lambda key=key: key.upper()) for key in ("a", "b")] == ["A", "B"]  # type: ignore[misc]
    assert kept.get("a", never) == "A"
    assert kept.get("c", lambda: "C") == "C"
    assert [kept.get("a", never), kept.get("c", never), kept.get("b", lambda: "again")] == ["A", "C", "again"]


def test_what_failed_is_asked_for_again() -> None:
    kept: Recent[str, str] = Recent(2)
    with pytest.raises(AssertionError):
        kept.get("a", never)
    assert kept.get("a", lambda: "A") == "A"
