"""The queue. It only wakes a worker: a message is the id of a job, the job's row is the truth.

A message may be sent twice or be lost. Who works on a job is decided by a guarded update of its row, and rows that
wait without a message are found and sent again.
"""

import logging
import sqlite3
from uuid import UUID

from django.utils import timezone
from django.utils.module_loading import import_string
from huey.api import Task
from huey.contrib.djhuey import HUEY, db_task

from gallery.models.jobs import LONGEST_RETRY

log = logging.getLogger(__name__)

#: By its dotted path, so that a service can wake a worker without importing what workers do.
_WORK = "gallery.tasks.take"
_PLAN = "gallery.tasks.plan"


@db_task()
def run_job(job_id: str) -> None:
    import_string(_WORK)(UUID(job_id))


@db_task(priority=10)
def run_plan(plan_id: str) -> None:
    import_string(_PLAN)(UUID(plan_id))


def wake_plan(plan_id: UUID) -> None:
    """Ask a worker of this node to work a plan out, before anything else: somebody waits for it."""
    try:
        run_plan(str(plan_id))
    except sqlite3.Error as error:
        log.warning("The queue took no message for plan %s (%s).", plan_id, error)


def wake(job_id: UUID, delay: float = 0.0) -> None:
    """Ask a worker of this node to look at the job, `delay` seconds from now.

    A queue that takes no message is no reason to lose what was asked for: the job is recorded.
    """
    try:
        if delay > 0:
            run_job.schedule(args=(str(job_id),), delay=delay)
        else:
            run_job(str(job_id))
    except sqlite3.Error as error:
        log.warning("The queue took no message for job %s (%s); a worker finds it within two minutes.", job_id, error)


def waiting() -> set[UUID]:
    """The jobs that a message in the queue or in the schedule names.

    Not one for longer than any job waits: the clock was set back since, and the message would come that much too late.
    """
    # The times of messages are in UTC and do not say so.
    far = (timezone.now() + LONGEST_RETRY).replace(tzinfo=None)
    messages = [task for task in (*HUEY.pending(), *HUEY.scheduled()) if task.eta is None or task.eta <= far]
    return {job for job in map(job_of, messages) if job is not None}


def job_of(task: Task) -> UUID | None:
    """The job that a message is about, or None when it is another kind of message."""
    return UUID(task.args[0]) if isinstance(task, run_job.task_class) else None
