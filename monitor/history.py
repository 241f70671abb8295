"""Series of (time, value) made fit for a chart: cut where nothing was measured, thinned to the points a line needs."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

#: A time (with its zone) and what was measured then.
Point = tuple[datetime, float]


def downsample(series: Sequence[Point], count: int) -> list[Point]:
    """At most `count` of the points (3 at least), chosen so that the line keeps its shape and its peaks.

    The first and last stay; between them each of `count - 2` equal buckets gives the point that spans the largest
    triangle with the point chosen before and the mean of the bucket after (Steinarsson, 2013).
    """
    count = max(3, count)
    if len(series) <= count:
        return list(series)
    inner = len(series) - 2
    edges = [1 + round(step * inner / (count - 2)) for step in range(count - 1)]
    chosen = [series[0]]
    for number, (low, high) in enumerate(pairwise(edges)):
        after = series[high : edges[number + 2]] if number + 2 < len(edges) else series[-1:]
        chosen.append(_farthest(series[low:high], chosen[-1], _mean(after, series[0]), series[0]))
    return [*chosen, series[-1]]


def _mean(points: Sequence[Point], origin: Point) -> tuple[float, float]:
    seconds = sum((at - origin[0]).total_seconds() for at, _ in points) / len(points)
    return seconds, sum(value for _, value in points) / len(points)


def _farthest(points: Sequence[Point], before: Point, after: tuple[float, float], origin: Point) -> Point:
    """The point with the largest triangle between the two others."""
    before_x, before_y = (before[0] - origin[0]).total_seconds(), before[1]

    def area(point: Point) -> float:
        x = (point[0] - origin[0]).total_seconds()
        return abs((before_x - after[0]) * (point[1] - before_y) - (before_x - x) * (after[1] - before_y))

    return max(points, key=area)


def segments(series: Sequence[Point], longest_gap: timedelta) -> list[list[Point]]:
    """The series cut wherever two points are further apart: no line is drawn over a time nothing was measured."""
    parts: list[list[Point]] = []
    for point in series:
        if parts and point[0] - parts[-1][-1][0] <= longest_gap:
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts
