"""How much installs may take: what people have set, what of it holds now, and the pace it gives to the downloads."""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as Time
from threading import Lock
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from gallery.downloads.bandwidth import Line, Share
from gallery.models import Job, Limits
from gallery.services import turns
from gallery.states import IN_LINE
from team.people import name_of

log = logging.getLogger(__name__)

#: The row is read at most this often by the threads that ask all the time. Seconds.
READ_EVERY = 1.0
#: There is one row.
_ROW = 1


def read() -> Limits:
    """What is set now; the defaults until somebody has changed something."""
    return Limits.objects.filter(pk=_ROW).first() or Limits(pk=_ROW)


def change(by: AbstractBaseUser | None, **fields: Any) -> Limits:
    """Set some of the limits. They hold within a second or two, for what is at work as well."""
    Limits.objects.get_or_create(pk=_ROW)
    now = timezone.now()
    Limits.objects.filter(pk=_ROW).update(**fields, changed_by=name_of(by), changed_at=now)
    log.info("%s set the limits to %s", name_of(by) or "The console", fields)
    return read()


@dataclass(frozen=True)
class Holding:
    """Bytes a second that hold until a moment, and those that hold then. None is without a limit, or for good."""

    bandwidth: int | None
    until: datetime | None
    then: int | None


def holding(limits: Limits, now: datetime) -> Holding:
    """What the limits mean at this moment, in the console's time zone. Quiet hours may go over midnight."""
    begin, end = limits.quiet_from, limits.quiet_to
    if begin is None or end is None or begin == end:
        return Holding(limits.bandwidth, None, limits.bandwidth)
    local = timezone.localtime(now)
    if _is_within(local.time(), begin, end):
        return Holding(limits.quiet_bandwidth, _next(local, end), limits.bandwidth)
    return Holding(limits.bandwidth, _next(local, begin), limits.quiet_bandwidth)


def _is_within(moment: Time, begin: Time, end: Time) -> bool:
    if begin < end:
        return begin <= moment < end
    return moment >= begin or moment < end


def _next(local: datetime, at: Time) -> datetime:
    """The next moment at which the clock on the wall says so."""
    day = local.date() if local.time() < at else local.date() + timedelta(days=1)
    return timezone.make_aware(datetime.combine(day, at))


class Governor:
    """The limits as the threads of this process follow them."""

    def __init__(self) -> None:
        self.line = Line()
        self._lock = Lock()
        self._read_at = float("-inf")
        self._limits = Limits()

    def follow(self) -> Limits:
        """Read the row, unless that was done a moment ago. For threads that have a connection to the database."""
        with self._lock:
            if time.monotonic() - self._read_at >= READ_EVERY * 0.9:
                self._limits, self._read_at = read(), time.monotonic()
            # The hour is looked at each time: a clock that was set means another hour, not another speed.
            self.line.limit(holding(self._limits, timezone.now()).bandwidth)
            return self._limits

    def connections(self) -> int:
        """As last read. Never asks the database: the threads of a download have no connection to it."""
        return self._limits.connections


_governor = Governor()


def follow() -> Limits:
    """The limits, read at most once a second; from now on the downloads of this process keep to them."""
    return _governor.follow()


def pace() -> Share:
    """The pace of one job: ask for one a job, so that each gets its share."""
    follow()
    return _governor.line.share(_governor.connections)


def due() -> list[UUID]:
    """The long jobs that may begin now."""
    return turns.due(follow().at_once)


def is_its_turn(job: Job) -> bool:
    """Whether the job may begin. Asked in the transaction that takes it, which holds the limits' row until its end."""
    if job.kind not in IN_LINE:
        return True
    return turns.is_its_turn(job, Limits.hold().at_once)
