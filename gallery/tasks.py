"""What Huey calls: adapters only. The rows of the jobs are the truth, and every task is safe to run twice."""

import logging
from collections.abc import Callable
from threading import Event, Lock
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connections
from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task, on_shutdown, on_startup, signal
from huey.signals import SIGNAL_INTERRUPTED

from gallery.models import Job
from gallery.services import (
    deletions,
    duplicates,
    installs,
    jobs,
    kept,
    leftovers,
    limits,
    plans,
    preload,
    queue,
    refresh,
    rollback,
    running,
    starter,
)
from gallery.services.lanes import Lanes
from gallery.states import IN_LINE, LONG, Kind

log = logging.getLogger(__name__)

WORK: dict[str, Callable[[running.JobRun], str]] = {
    Kind.INSTALL: installs.run_install,
    Kind.DELETE: deletions.run_delete,
    Kind.REFRESH: refresh.run_refresh,
    Kind.STARTER: starter.run_starter,
    Kind.SCAN: duplicates.run_scan,
    Kind.ROLLBACK: rollback.run_rollback,
}

#: What long jobs have to let go when the worker is told to stop. It is killed a second after that. Seconds.
LET_GO = 4.0

_starting = Lock()
_refreshing = Lock()
_started = Event()


def take(job_id: UUID) -> None:
    """What a message is about: a short job is done here and now, a long one on a thread of its own."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        return
    if job.kind not in LONG:
        work(job_id)
    elif running.is_ready(job):
        LANES.fill() if job.kind in IN_LINE else LANES.begin(job_id)


def work(job_id: UUID) -> None:
    """Work on a job if it is its turn, and come back to it when its next try is due."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        return
    delay = running.run(job_id, WORK[job.kind], HUEY.stopping, limits.is_its_turn)
    if delay is not None:
        queue.wake(job_id, delay)


def plan(plan_id: UUID) -> None:
    plans.make_plan(plan_id)


LANES = Lanes(work, limits.due)


@db_periodic_task(crontab(minute="*"), expires=50)
def recover() -> None:
    jobs.recover(timezone.now())
    plans.end_lost(timezone.now())


@db_periodic_task(crontab(minute="7", hour="*"))
def clear_leftovers() -> None:
    leftovers.sweep(timezone.now())
    kept.sweep(timezone.now())


@db_periodic_task(crontab(minute="*"), expires=50)
def refresh_galleries() -> None:
    """Asked every minute which galleries are due; most minutes none is. A slow one keeps the next minute's out."""
    if _refreshing.acquire(blocking=False):
        try:
            refresh.refresh_due(timezone.now(), settings.GALLERY_REFRESH_MINUTES, HUEY.stopping)
            preload.preload()
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
            # A worker that died while it cleared up after a job that was done has left some of it.
            leftovers.sweep(timezone.now())
            plans.wake_waiting()
            preload.preload()
        finally:
            close_old_connections()


@on_shutdown()
def end() -> None:
    """Called by every thread of the queue as it ends; the first waits for the long jobs to be let go of."""
    try:
        for job_id in LANES.close(LET_GO):
            jobs.hand_back(job_id, "its worker was stopped")
    finally:
        connections.close_all()


@signal(SIGNAL_INTERRUPTED)
def interrupted(_signal: str, task: Any) -> None:
    """A job that did not let go in time when the worker was told to stop: the next worker goes on with it."""
    job_id = queue.job_of(task)
    if job_id is not None:
        jobs.hand_back(job_id, "its worker was stopped")
