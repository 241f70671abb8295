import pytest

from localai_admin.lib import units


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (253 * 2**20, "253.0 MiB"), (5 * 2**60, "5120.0 PiB")],
)
def test_bytes_are_binary_with_one_decimal(count, text) -> None:
    assert units.bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (45.4, "45 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (11520, "3 h 12 min"),
        (90061, "1 d 1 h"),
        (-3, "0 s"),
    ],
)
def test_durations_have_two_units_at_most(seconds, text) -> None:
    assert units.duration_text(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.04, "0.0 %"), (9.96, "10.0 %"), (42.4, "42 %")])
def test_percent(value, text) -> None:
    assert units.percent_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86399, "23 h"), (200_000, "2 d")],
)
def test_an_age_is_said_in_one_unit(seconds, text):
    assert units.age_text(seconds) == text
