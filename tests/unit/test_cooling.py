"""Sources that failed lately come last."""

from gallery.catalog.sources import Cooling


def test_a_source_that_failed_comes_last_until_it_has_cooled_down_or_worked() -> None:
    now = 0.0
    cooling = Cooling(600, lambda: now)
    assert cooling.in_order(["a", "b", "a"]) == ["a", "b"]
    cooling.failed("a")
    assert cooling.in_order(["a", "b"]) == ["b", "a"]
    now = 601.0
    assert cooling.in_order(["a", "b"]) == ["a", "b"]
    cooling.failed("a")
    cooling.worked("a")
    assert cooling.in_order(["a", "b"]) == ["a", "b"]


def test_when_all_have_failed_all_are_asked_in_their_order() -> None:
    cooling = Cooling(600, lambda: 0.0)
    for source in ("b", "a"):
        cooling.failed(source)
    assert cooling.in_order(["a", "b"]) == ["a", "b"]
