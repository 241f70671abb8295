"""Charts are numbers: where lines, ticks and marks go, and what they say."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from localai_admin.lib.units import ABSENT
from monitor.charts import Chart, line_chart, nice_ticks, sparkline, time_ticks
from monitor.history import Point, downsample, segments

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def points(*values: float, every: int = 60) -> list[Point]:
    return [(START + timedelta(seconds=every * number), value) for number, value in enumerate(values)]


def chart(series: list[Point], **options: object) -> Chart:
    given = {"start": START, "end": START + HOUR, "unit": "percent", "width": 600, "height": 102, **options}
    return line_chart([series] if series else [], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("highest", "unit", "expected"),
    [
        (100, "percent", [0, 20, 40, 60, 80, 100]),  # a round end stays the end
        (101, "percent", [0, 50, 100, 150]),  # one more and the steps grow
        (0.3, "percent", [0, 0.1, 0.2, 0.3]),  # small values have small steps
        (5 * 2**30, "bytes", [number * 2**30 for number in range(6)]),  # steps of one GiB
        (700, "bytes", [number * 256 for number in range(4)]),  # bytes, in powers of two
        (0, "percent", [0, 0.2, 0.4, 0.6, 0.8, 1.0]),  # nothing measured above zero: an axis all the same
        (float("nan"), "percent", [0, 0.2, 0.4, 0.6, 0.8, 1.0]),  # nor does nonsense break it
    ],
)
def test_ticks_are_round_and_reach_the_highest_value(highest: float, unit: str, expected: list[float]) -> None:
    assert nice_ticks(highest, unit) == pytest.approx(expected)


@pytest.mark.parametrize("highest", [0.001, 0.7, 3, 17, 99, 100.1, 1234567, 3.3e12])
@pytest.mark.parametrize("unit", ["percent", "bytes"])
def test_there_are_never_more_than_five_steps(highest: float, unit: str) -> None:
    ticks = nice_ticks(highest, unit)
    assert ticks[0] == 0
    assert ticks[-1] >= highest
    assert len(ticks) <= 6
    steps = {round(after - before, 9) for before, after in pairwise(ticks)}
    assert len(steps) == 1


def test_the_line_goes_from_left_to_right_with_large_values_on_top() -> None:
    made = chart([(START, 0), (START + HOUR / 2, 50), (START + HOUR, 100)])
    assert made.lines == ["0,101 300,51 600,1"]
    assert made.areas == ["0,101 0,101 300,51 600,1 600,101"]


def test_the_axis_has_texts_with_units() -> None:
    made = chart([(START, 3 * 2**30)], unit="bytes", top=4 * 2**30)
    assert [tick.label for tick in made.y_ticks] == ["0", "1.0 GiB", "2.0 GiB", "3.0 GiB", "4.0 GiB"]
    assert made.y_ticks[0].at > made.y_ticks[-1].at


def test_the_axis_reaches_what_it_is_compared_with() -> None:
    assert chart(points(2, 3), top=100).top == 100
    assert chart(points(2, 250), top=100).top >= 250


def test_the_latest_and_the_highest_value_are_told() -> None:
    made = chart(points(10, 90, 40))
    assert (made.latest, made.highest) == ("40 %", "90 %")


def test_a_chart_of_nothing_says_so_and_keeps_its_axes() -> None:
    made = chart([])
    assert made.is_empty
    assert (made.latest, made.highest) == (ABSENT, ABSENT)
    assert made.y_ticks
    assert made.x_ticks


def test_points_outside_the_times_are_left_out() -> None:
    made = chart([(START - HOUR, 99), (START, 1), (START + HOUR, 2), (START + 2 * HOUR, 99)])
    assert made.highest == "2.0 %"
    assert made.lines[0].startswith("0,")


def test_a_lone_point_can_be_seen() -> None:
    assert len(chart(points(5)).lines[0].split()) == 2


def test_events_are_marked_where_they_happened_when_they_did() -> None:
    made = chart(points(1, 2), marks=[(START + HOUR / 4, "Ready"), (START - HOUR, "Loading")])
    assert [(mark.at, mark.label) for mark in made.marks] == [(150, "Ready")]


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (timedelta(hours=1), ["10:00", "10:10", "10:20", "10:30", "10:40", "10:50", "11:00"]),
        (timedelta(seconds=30), ["10:00:00", "10:00:05", "10:00:10", "10:00:15", "10:00:20", "10:00:25", "10:00:30"]),
        (timedelta(hours=12), ["10:00", "12:00", "14:00", "16:00", "18:00", "20:00", "22:00"]),
        (timedelta(0), []),
    ],
)
def test_time_ticks_are_at_round_times(span: timedelta, labels: list[str]) -> None:
    assert [label for _, label in time_ticks(START, START + span)] == labels


def test_time_ticks_start_after_an_odd_start() -> None:
    odd = START + timedelta(minutes=3, seconds=7)
    assert next(label for _, label in time_ticks(odd, odd + HOUR)) == "10:10"


def test_time_ticks_show_the_time_of_the_zone() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert next(label for _, label in time_ticks(START, START + HOUR, india)) == "15:30"


def test_a_sparkline_ends_at_its_highest_point() -> None:
    made = sparkline([points(0, 8)], start=START, end=START + timedelta(minutes=1), unit="percent", width=60, height=22)
    assert made.lines == ["0,21 60,1"]
    assert not made.is_empty


def test_a_sparkline_of_zeros_lies_on_the_floor() -> None:
    made = sparkline([points(0, 0)], start=START, end=START + timedelta(minutes=1), unit="bytes", width=60, height=22)
    assert made.lines == ["0,21 60,21"]


def test_a_long_series_is_thinned_and_keeps_its_peak_and_its_ends() -> None:
    values = [10.0] * 1000
    values[617] = 900.0
    thinned = downsample(points(*values, every=2), 100)
    assert len(thinned) == 100
    assert max(value for _, value in thinned) == 900
    assert thinned[0][0] == START
    assert thinned[-1][0] == START + timedelta(seconds=2 * 999)


@pytest.mark.parametrize(("length", "count"), [(0, 10), (1, 10), (9, 10), (10, 10), (11, 10), (4, 1), (1001, 7)])
def test_thinning_never_gives_more_than_asked_nor_changes_the_order(length: int, count: int) -> None:
    series = points(*[float(number * 7 % 13) for number in range(length)])
    thinned = downsample(series, count)
    assert len(thinned) == min(length, max(3, count))
    assert thinned == sorted(set(thinned) & set(series))


def test_no_line_is_drawn_over_a_time_nothing_was_measured() -> None:
    early, late = points(1, 2), [(at + HOUR, value) for at, value in points(3, 4)]
    assert segments([*early, *late], timedelta(minutes=5)) == [early, late]
    assert segments([], timedelta(minutes=5)) == []


def test_a_series_is_cut_at_a_gap_just_longer_than_the_longest_and_not_at_one_as_long() -> None:
    start, longest = datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=45)
    joined, cut = start + longest, start + longest + timedelta(seconds=1)
    assert len(segments([(start, 1.0), (joined, 1.0)], longest)) == 1
    assert len(segments([(start, 1.0), (cut, 1.0)], longest)) == 2
