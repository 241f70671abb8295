"""What the host and its backends cost now: for this app's first page, and for the console's."""

from collections.abc import Iterable
from typing import NamedTuple

from models.models import Instance
from models.standing import Standing, standing
from monitor.series import AGENT_SILENT_SECONDS, Host, Usage, host, usage

__all__ = ["AGENT_SILENT_SECONDS", "Host", "InstanceUsage", "host", "with_usage"]


class InstanceUsage(NamedTuple):
    """A backend: its instance, how it stands, and what its process tree uses."""

    instance: Instance
    standing: Standing
    usage: Usage

    @property
    def cpu_percent(self) -> float | None:
        return self.usage.cpu_percent

    @property
    def rss(self) -> int | None:
        return self.usage.rss

    def share_of(self, memory_total: int) -> float | None:
        """Its share of the host's memory in percent."""
        return None if self.rss is None or not memory_total else 100 * self.rss / memory_total


def with_usage(instances: Iterable[Instance]) -> list[InstanceUsage]:
    """Two queries for all of them, one when the instances are there already."""
    known = list(instances)
    used = usage(known)
    return [InstanceUsage(instance, standing(instance), used[instance.pk]) for instance in known]
