"""The samples of the last minutes as charts: what the pages of this app ask the database for."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from localai_admin.lib.gpu import Gpu
from models.models import Instance, InstanceEvent
from monitor.charts import Chart, Sparkline, line_chart, sparkline
from monitor.history import Point, downsample, segments
from monitor.models import HostSample, Sample

ROW_SPAN = timedelta(minutes=10)
CHART_SPAN = timedelta(minutes=15)
HOST_SPAN = timedelta(hours=1)
#: Where samples are further apart, nothing was measured and no line is drawn.
_LONGEST_GAP = timedelta(seconds=45)
#: An agent that has not measured for longer is silent; a figure that is older is not `now` any more.
AGENT_SILENT_SECONDS = 45
_NOW = timedelta(seconds=AGENT_SILENT_SECONDS)
_ROW_POINTS, _CHART_POINTS = 60, 300


class Usage(NamedTuple):
    """An instance's process tree now and over the last minutes; CPU in percent of one core, memory in bytes."""

    latest: Sample | None
    cpu: Sparkline
    memory: Sparkline

    @property
    def cpu_percent(self) -> float | None:
        """Of one core; None when nothing was measured of late."""
        return self.latest.cpu_percent if self.latest else None

    @property
    def rss(self) -> int | None:
        """Resident bytes; None when nothing was measured of late."""
        return self.latest.rss if self.latest else None


class GpuLine(NamedTuple):
    """A graphics card now, and its memory over the last hour."""

    card: Gpu
    memory: Sparkline


class Host(NamedTuple):
    """This node now, and over the last hour."""

    latest: HostSample
    cpu: Sparkline
    memory: Sparkline
    disk: Sparkline
    gpus: list[GpuLine]

    @property
    def age_seconds(self) -> float:
        return (timezone.now() - self.latest.at).total_seconds()

    @property
    def is_silent(self) -> bool:
        """The agent has not measured for so long that the figures are old."""
        return self.age_seconds > AGENT_SILENT_SECONDS

    @property
    def disk_free(self) -> int:
        return self.latest.disk_free

    @property
    def disk_total(self) -> int:
        return self.latest.disk_total

    @property
    def memory_percent(self) -> float:
        return 100 * self.latest.memory_used / (self.latest.memory_total or 1)

    @property
    def disk_used(self) -> int:
        return self.latest.disk_total - self.latest.disk_free


def host() -> Host | None:
    """None while nothing was measured on this node in the last hour; one query."""
    end = timezone.now()
    samples = list(HostSample.objects.filter(node=settings.NODE, at__gte=end - HOST_SPAN).order_by("at"))
    if not samples:
        return None

    def line(values: Iterable[float | None], top: float, unit: str) -> Sparkline:
        points = zip((sample.at for sample in samples), values, strict=True)
        series = [(at, value) for at, value in points if value is not None]
        return sparkline(_fit(series, _ROW_POINTS), start=end - HOST_SPAN, end=end, unit=unit, top=top)

    latest = samples[-1]
    return Host(
        latest=latest,
        cpu=line((sample.cpu_percent for sample in samples), 100, "percent"),
        memory=line((sample.memory_used for sample in samples), latest.memory_total, "bytes"),
        disk=line((sample.disk_total - sample.disk_free for sample in samples), latest.disk_total, "bytes"),
        gpus=[
            GpuLine(
                card := Gpu(**gpu),
                line((_card_memory(sample, number) for sample in samples), card.memory_total or 0, "bytes"),
            )
            for number, gpu in enumerate(latest.gpus)
        ],
    )


def _card_memory(sample: HostSample, number: int) -> float | None:
    """Cards are told apart by their place; one that was not there then has no figure."""
    return sample.gpus[number].get("memory_used") if number < len(sample.gpus) else None


def usage(instances: Iterable[Instance]) -> dict[int, Usage]:
    """What each instance uses, by its primary key; one query for all of them."""
    end = timezone.now()
    keys = [instance.pk for instance in instances]
    samples: dict[int, list[Sample]] = defaultdict(list)
    for sample in Sample.objects.filter(instance__in=keys, at__gte=end - ROW_SPAN).order_by("at"):
        samples[sample.instance_id].append(sample)
    return {key: _usage(samples[key], end) for key in keys}


def _usage(samples: Sequence[Sample], end: datetime) -> Usage:
    start = end - ROW_SPAN
    cpu: list[Point] = [(sample.at, sample.cpu_percent) for sample in samples]
    memory: list[Point] = [(sample.at, float(sample.rss)) for sample in samples]
    return Usage(
        latest=samples[-1] if samples and samples[-1].at >= end - _NOW else None,
        cpu=sparkline(_fit(cpu, _ROW_POINTS), start=start, end=end, unit="percent", top=100),
        memory=sparkline(_fit(memory, _ROW_POINTS), start=start, end=end, unit="bytes"),
    )


class Charts(NamedTuple):
    """One instance over the last quarter of an hour, with its changes of state as marks."""

    latest: Sample | None
    cpu: Chart
    memory: Chart

    @property
    def cpu_percent(self) -> float | None:
        """Of one core; None when nothing was measured of late."""
        return self.latest.cpu_percent if self.latest else None

    @property
    def rss(self) -> int | None:
        """Resident bytes; None when nothing was measured of late."""
        return self.latest.rss if self.latest else None


def charts(instance: Instance | None) -> Charts:
    """Two queries; empty charts for a model that has no instance."""
    end = timezone.now()
    start = end - CHART_SPAN
    samples = list(Sample.objects.filter(instance=instance, at__gte=start).order_by("at")) if instance else []
    marks = _marks(instance, start) if instance else []
    cpu: list[Point] = [(sample.at, sample.cpu_percent) for sample in samples]
    memory: list[Point] = [(sample.at, float(sample.rss)) for sample in samples]
    zone = timezone.get_current_timezone()
    return Charts(
        latest=samples[-1] if samples and samples[-1].at >= end - _NOW else None,
        cpu=line_chart(_fit(cpu, _CHART_POINTS), start=start, end=end, unit="percent", marks=marks, zone=zone),
        memory=line_chart(_fit(memory, _CHART_POINTS), start=start, end=end, unit="bytes", marks=marks, zone=zone),
    )


def _marks(instance: Instance, start: datetime) -> list[tuple[datetime, str]]:
    """Changes of state, the last twenty of them: more lines than that tell nothing."""
    events = InstanceEvent.objects.filter(instance=instance, at__gte=start).order_by("-at", "-pk")[:40]
    changes = [event for event in events if event.from_state != event.to_state][:20]
    return [(event.at, _happened(event)) for event in reversed(changes)]


def _happened(event: InstanceEvent) -> str:
    return f"{event.to_state} at {timezone.localtime(event.at):%H:%M:%S}"


def _fit(series: Sequence[Point], count: int) -> list[list[Point]]:
    """Cut at gaps, each piece thinned to its share of the points."""
    parts = segments(series, _LONGEST_GAP)
    return [downsample(part, round(count * len(part) / len(series))) for part in parts]
