"""Speed is what came in the last ten seconds, and time left follows from it."""

import pytest

from gallery.downloads.progress import Meter


class Clock:
    """Time that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(clock)


def steady(meter: Meter, clock: Clock, seconds: int, rate: int) -> None:
    for _ in range(seconds * 10):
        clock.now += 0.1
        meter.add(rate // 10)


def test_there_is_no_speed_before_anything_came(meter: Meter, clock: Clock) -> None:
    clock.now += 5
    assert meter.speed() is None
    assert meter.eta(100) is None


def test_a_steady_line_has_its_speed_from_the_first_second(meter: Meter, clock: Clock) -> None:
    steady(meter, clock, 1, 1000)
    assert meter.speed() == pytest.approx(1000, rel=0.01)
    steady(meter, clock, 100, 1000)
    assert meter.speed() == pytest.approx(1000, rel=0.05)


def test_what_came_before_the_window_does_not_count(meter: Meter, clock: Clock) -> None:
    steady(meter, clock, 20, 1_000_000)
    steady(meter, clock, 11, 1000)
    assert meter.speed() == pytest.approx(1000, rel=0.05)


def test_a_stall_brings_the_speed_down_and_counts_the_seconds(meter: Meter, clock: Clock) -> None:
    steady(meter, clock, 10, 1000)
    clock.now += 5
    assert meter.speed() == pytest.approx(500, rel=0.1)
    assert meter.idle == pytest.approx(5)
    clock.now += 6
    assert meter.speed() == 0
    assert meter.eta(1000) is None


def test_time_left_is_bytes_by_speed(meter: Meter, clock: Clock) -> None:
    steady(meter, clock, 10, 1000)
    assert meter.eta(5000) == pytest.approx(5, rel=0.05)
    assert meter.eta(0) == 0
    assert meter.eta(None) is None


def test_time_before_a_connection_is_no_slowness(meter: Meter, clock: Clock) -> None:
    clock.now += 60  # bytes from before are read again
    meter.connect()
    steady(meter, clock, 1, 1000)
    assert meter.speed() == pytest.approx(1000, rel=0.01)
    assert meter.idle == 0


def test_a_clock_that_jumps_back_breaks_nothing(meter: Meter, clock: Clock) -> None:
    steady(meter, clock, 2, 1000)
    clock.now -= 50
    meter.add(1000)
    assert (meter.speed() or 0) >= 0
