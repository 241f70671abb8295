"""Line charts as numbers and texts: where the lines, ticks and marks go. A template draws them as SVG."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from localai_admin.lib.units import ABSENT, bytes_text, percent_text
from monitor.history import Point

#: Distances between time ticks that people read easily. Seconds.
_TIME_STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)

UNITS: dict[str, Callable[[float | None], str]] = {"bytes": bytes_text, "percent": percent_text}


@dataclass(frozen=True)
class Tick:
    """A line of the grid and its text; `at` in the chart's own units from its left or top edge."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart of `width` by `height`. Each of `lines` and `areas` is the `points` of a polyline or a polygon."""

    width: int
    height: int
    lines: list[str]
    areas: list[str]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    marks: list[Tick]
    top: float
    latest: str
    highest: str

    @property
    def is_empty(self) -> bool:
        return not self.lines


@dataclass(frozen=True)
class Sparkline:
    """A line without axes, for a cell of a table, with its texts for those who cannot see it."""

    width: int
    height: int
    lines: list[str]
    latest: str
    highest: str

    @property
    def is_empty(self) -> bool:
        return not self.lines


def line_chart(
    segments: Sequence[Sequence[Point]],
    *,
    start: datetime,
    end: datetime,
    unit: str,
    width: int = 600,
    height: int = 160,
    top: float | None = None,
    marks: Iterable[tuple[datetime, str]] = (),
    zone: tzinfo = UTC,
) -> Chart:
    """Place segments of points (see `monitor.history.segments`) between two times.

    `unit` is bytes or percent. `top` is the least value the axis reaches, such as 100 percent or all memory; without it
    the axis ends at the first nice value above the highest point. Marks are events: a time and what happened.
    """
    shown = [part for segment in segments if (part := [point for point in segment if start <= point[0] <= end])]
    values = [value for part in shown for _, value in part]
    steps = nice_ticks(max([top or 0.0, *values]), unit)
    frame = _Frame(start, end, steps[-1], width, height)
    lines = [frame.points(part) for part in shown]
    text = UNITS[unit]
    return Chart(
        width=width,
        height=height,
        lines=lines,
        areas=[frame.area(part) for part in shown],
        y_ticks=[Tick(frame.y(value), text(value) if value else "0") for value in steps],
        x_ticks=[Tick(frame.x(at), label) for at, label in time_ticks(start, end, zone)],
        marks=[Tick(frame.x(at), label) for at, label in marks if start <= at <= end],
        top=steps[-1],
        latest=text(values[-1]) if values else ABSENT,
        highest=text(max(values)) if values else ABSENT,
    )


def sparkline(
    segments: Sequence[Sequence[Point]],
    *,
    start: datetime,
    end: datetime,
    unit: str,
    width: int = 120,
    height: int = 24,
    top: float | None = None,
) -> Sparkline:
    """As `line_chart`, with the axis ending at the highest point, or at `top` when that is more."""
    shown = [part for segment in segments if (part := [point for point in segment if start <= point[0] <= end])]
    values = [value for part in shown for _, value in part]
    frame = _Frame(start, end, max([top or 0.0, *values]) or 1.0, width, height)
    text = UNITS[unit]
    return Sparkline(
        width=width,
        height=height,
        lines=[frame.points(part) for part in shown],
        latest=text(values[-1]) if values else ABSENT,
        highest=text(max(values)) if values else ABSENT,
    )


@dataclass(frozen=True)
class _Frame:
    """From times and values to places. One unit is left free at top and bottom, so that a line is not cut in half."""

    start: datetime
    end: datetime
    top: float
    width: int
    height: int

    def x(self, at: datetime) -> float:
        span = max((self.end - self.start).total_seconds(), 1e-9)
        return round((at - self.start).total_seconds() / span * self.width, 1)

    def y(self, value: float) -> float:
        share = min(1.0, max(0.0, value / self.top))
        return round(self.height - 1 - share * (self.height - 2), 1)

    def points(self, part: Sequence[Point]) -> str:
        """A lone point is drawn as a line of one unit, else nobody would see it."""
        places = [(self.x(at), self.y(value)) for at, value in part]
        if len(places) == 1:
            x, y = places[0]
            places = [(max(0.0, x - 1), y), (x, y)] if x >= 1 else [(x, y), (x + 1, y)]
        return " ".join(f"{x:g},{y:g}" for x, y in places)

    def area(self, part: Sequence[Point]) -> str:
        first, last, floor = self.x(part[0][0]), self.x(part[-1][0]), self.y(0)
        return f"{first:g},{floor:g} {self.points(part)} {last:g},{floor:g}"


def nice_ticks(highest: float, unit: str, most: int = 5) -> list[float]:
    """Round values from 0 to the first one at or above `highest`, `most` steps at most.

    Steps are 1, 2 or 5 times a power of ten; of bytes, powers of two, so that their texts are round, too.
    """
    if not highest > 0 or math.isinf(highest):
        highest = float(1 << 20) if unit == "bytes" else 1.0
    step = _binary_step(highest / most) if unit == "bytes" else _decimal_step(highest / most)
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _decimal_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _binary_step(least: float) -> float:
    return float(2 ** max(0, math.ceil(math.log2(least) - 1e-9)))


def time_ticks(start: datetime, end: datetime, zone: tzinfo = UTC, most: int = 6) -> list[tuple[datetime, str]]:
    """Times at round distances between two times, at most `most` steps, with the text a clock in `zone` shows."""
    span = (end - start).total_seconds()
    if span <= 0:
        return []
    step = next((step for step in _TIME_STEPS if span / step <= most), _TIME_STEPS[-1] * math.ceil(span / 86400 / most))
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
    local = start.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + timedelta(seconds=math.ceil((local - midnight).total_seconds() / step) * step)
    ticks = []
    while at <= end:
        ticks.append((at, at.strftime(form)))
        at += timedelta(seconds=step)
    return ticks
