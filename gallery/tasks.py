"""What Huey calls: adapters only. The rows of the jobs are the truth, and every task is safe to run twice."""

import logging
from collections.abc import Callable
from functools import partial
from threading import Event, Lock
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task, on_startup, signal
from huey.signals import SIGNAL_INTERRUPTED

from gallery.models import Job
from gallery.services import deletions, installs, jobs, leftovers, queue, refresh, running, starter
from gallery.states import Kind

log = logging.getLogger(__name__)

WORK: dict[str, Callable[[running.JobRun], str]] = {
    Kind.INSTALL: installs.run_install,
    Kind.DELETE: deletions.run_delete,
    Kind.REFRESH: refresh.run_refresh,
    Kind.STARTER: starter.run_starter,
}

_CONSUMER: dict[str, Any] = settings.HUEY["consumer"]  # type: ignore[assignment]  # a map of mixed values
#: Installs at work at a time: one thread stays free for deletions, refreshes and the recovery.
LONG_AT_ONCE = max(1, _CONSUMER["workers"] - 1)

_starting = Lock()
_refreshing = Lock()
_started = Event()


def work(job_id: UUID) -> None:
    """Work on a job if it is its turn, and come back to it when its next try is due."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None or not jobs.is_its_turn(job, LONG_AT_ONCE):
        return
    delay = running.run(job_id, WORK[job.kind], HUEY.stopping, partial(jobs.is_its_turn, at_once=LONG_AT_ONCE))
    if delay is not None:
        queue.wake(job_id, delay)
    if job.kind in jobs.LONG:
        jobs.wake_next()


@db_periodic_task(crontab(minute="*"), expires=50)
def recover() -> None:
    jobs.recover(timezone.now())


@db_periodic_task(crontab(minute="7", hour="*"))
def clear_leftovers() -> None:
    leftovers.sweep(timezone.now())


@db_periodic_task(crontab(minute="*"), expires=50)
def refresh_galleries() -> None:
    """Asked every minute which galleries are due; most minutes none is. A slow one keeps the next minute's out."""
    if _refreshing.acquire(blocking=False):
        try:
            refresh.refresh_due(timezone.now(), settings.GALLERY_REFRESH_MINUTES, HUEY.stopping)
        finally:
            _refreshing.release()


@on_startup()
def begin() -> None:
    """Once a process, however many threads it has: read the settings' galleries, pick up what the last worker left."""
    with _starting:
        if _started.is_set():
            return
        _started.set()
        try:
            refresh.sync_from_settings()
            jobs.recover(timezone.now(), at_start=True)
        finally:
            close_old_connections()


@signal(SIGNAL_INTERRUPTED)
def interrupted(_signal: str, task: Any) -> None:
    """A job that did not let go in time when the worker was told to stop: the next worker goes on with it."""
    job_id = queue.job_of(task)
    if job_id is not None:
        jobs.hand_back(job_id, "its worker was stopped")
