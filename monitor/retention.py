"""How long samples are kept, and how many of them: all of the last minutes, then fewer, then none."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from monitor.models import HostSample, Sample

KEPT = timedelta(hours=1)
PRUNE_EVERY = timedelta(minutes=1)
#: Older samples than this are thinned: a page reads an hour at each look, and draws a point a minute.
ALL_KEPT = timedelta(minutes=2)
#: One sample of each series stays for each so many seconds.
SLOT = 10

_BATCH = 500


class Retention:
    """Called at each tick; works once a minute. One thread at a time."""

    def __init__(self) -> None:
        self._pruned_at: datetime | None = None
        self._thinned_to: datetime | None = None

    def apply(self, now: datetime) -> None:
        if self._pruned_at is not None and abs(now - self._pruned_at) < PRUNE_EVERY:
            return
        # Rows from the future are what a clock that was set back leaves behind.
        stale = Q(at__lt=now - KEPT) | Q(at__gt=now + KEPT)
        Sample.objects.filter(stale).delete()
        HostSample.objects.filter(stale).delete()
        self._thin_both(now)
        self._pruned_at = now

    def _thin_both(self, now: datetime) -> None:
        """From where the last call ended, so that each sample is looked at once. Other nodes thin their own."""
        until = now - ALL_KEPT
        until -= timedelta(seconds=until.timestamp() % SLOT)
        since = self._thinned_to if self._thinned_to and self._thinned_to <= until else now - KEPT
        old = {"at__gte": since, "at__lt": until}
        _thin(Sample.objects.filter(instance__node=settings.NODE, **old), "instance")
        _thin(HostSample.objects.filter(node=settings.NODE, **old), "node")
        self._thinned_to = until


def _thin(samples: "QuerySet[Any]", series: str) -> None:
    """Keep the first sample of each series in each slot."""
    seen: set[tuple[object, int]] = set()
    extra = []
    for pk, key, at in samples.order_by("at").values_list("pk", series, "at"):
        slot = (key, int(at.timestamp() // SLOT))
        if slot in seen:
            extra.append(pk)
        seen.add(slot)
    for start in range(0, len(extra), _BATCH):
        samples.model.objects.filter(pk__in=extra[start : start + _BATCH]).delete()
