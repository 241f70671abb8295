"""Jobs: made once, called off, tried again, put aside, and found again when their worker died."""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from gallery.models import Job, JobEvent
from gallery.services import leftovers, queue, worker
from gallery.services.errors import Conflict
from gallery.states import ENDED, RETRYABLE, WAITING, WORKING, Kind, State, Wanted
from team.people import name_of

log = logging.getLogger(__name__)

#: A queued job this old without a message has lost it.
MESSAGE_LOST = timedelta(seconds=10)
#: A job that took this many workers down with it is not given to another.
DEATHS = 10

#: Kinds that may take hours. They leave a thread of the worker to the others.
LONG = frozenset({Kind.INSTALL, Kind.STARTER})
#: Two kinds that must not be at work on one subject at a time.
_OPPOSITE = {Kind.INSTALL: Kind.DELETE, Kind.DELETE: Kind.INSTALL}

#: Fields of a job that goes back into the queue through no fault of its own.
_BACK: dict[str, Any] = {
    "worker": "",
    "heartbeat_at": None,
    "speed": None,
    "message": "Waiting for a worker",
}


def create(kind: Kind, subject: str, request: dict[str, Any], by: AbstractBaseUser | None) -> tuple[Job, bool]:
    """The job that does what is asked, and whether it is new: asking again returns the one that is under way.

    Raises Conflict when a job of the same kind does something else to the subject, or one of the opposite kind is
    under way.
    """
    try:
        with transaction.atomic():
            if (running := _same(kind, subject, request)) is not None:
                return running, False
            _refuse_opposite(kind, subject)
            job = Job.objects.create(kind=kind, subject=subject, request=request, by=name_of(by))
            JobEvent.objects.create(job=job, at=job.created_at, by=name_of(by), to_state=job.state, why="asked for")
            transaction.on_commit(partial(queue.wake, job.pk))
    except IntegrityError:
        # Somebody else was first between the look and the insert.
        if (running := _same(kind, subject, request)) is not None:
            return running, False
        raise
    return job, True


def request_cancel(job: Job, by: AbstractBaseUser | None) -> bool:
    """Call the job off. One that waits ends at once, one at work ends when its worker has let go.

    Returns False when it has ended, or when its files are being put in place already.
    """
    if leftovers.in_commit(job) or not job.want(Wanted.CANCEL, by, "cancel requested"):
        return False
    if job.state in WAITING | {State.PAUSED}:
        _end_waiting(job, name_of(by))
    return True


def retry(job: Job, by: AbstractBaseUser | None) -> bool:
    """Try a failed or cancelled job again, from the bytes that are here. Returns False when it is not one of those.

    The error stays readable until a try has gone well. Raises Conflict when another job took its place.
    """
    ended = State(job.state)
    if ended not in RETRYABLE:
        return False
    fresh = {"wanted": Wanted.RUN, "attempt": 0, "next_try_at": None, "finished_at": None, "dismissed": False}
    try:
        with transaction.atomic():
            _refuse_opposite(Kind(job.kind), job.subject)
            moved = job.move(ended, State.QUEUED, "asked to try again", by=name_of(by), message="", **fresh)
            transaction.on_commit(partial(queue.wake, job.pk))
    except IntegrityError:
        raise _conflict(Kind(job.kind), job.subject) from None
    return moved


def dismiss(job: Job, by: AbstractBaseUser | None) -> bool:
    """Put a failed job aside: it stays in the history but asks for no attention any more."""
    now = timezone.now()
    with transaction.atomic():
        changed = Job.objects.filter(pk=job.pk, state=State.FAILED, dismissed=False).update(
            dismissed=True, changed_at=now
        )
        if changed:
            JobEvent.objects.create(
                job=job, at=now, by=name_of(by), from_state=job.state, to_state=job.state, why="dismissed"
            )
    job.refresh_from_db()
    return bool(changed)


def recover(now: datetime, at_start: bool = False) -> list[UUID]:
    """Put every job that nobody works on any more back on its way. Returns their ids. Safe to run at any time.

    `at_start`: this node's worker process is new, so jobs of one that is gone need not wait for their heartbeat to
    go stale, nor queued ones for their message to be late.
    """
    due = Job.objects.filter(state=State.RETRYING, next_try_at__lte=now)
    found = [job for job in _lost(now, at_start) if _requeue_lost(job)] + [job for job in due if end_wait(job)]
    ended = _end_cancelled()
    late = now if at_start else now - MESSAGE_LOST
    queued = set(Job.objects.filter(state=State.QUEUED, changed_at__lte=late).values_list("pk", flat=True))
    queued |= {job.pk for job in found if job.state == State.QUEUED} - {job.pk for job in ended}
    if queued:
        for pk in queued - queue.waiting():
            queue.wake(pk)
    return [job.pk for job in found + ended]


def is_its_turn(job: Job, at_once: int) -> bool:
    """Whether a long job may begin: at most `at_once` of them are at work, and those asked for first go first.

    What does not get its turn needs no message: `wake_next` sends one as soon as another long job has ended.
    """
    if job.kind not in LONG:
        return True
    long = Job.objects.filter(kind__in=LONG)
    before = long.filter(state=State.QUEUED, created_at__lt=job.created_at).count()
    return long.working().count() + before < at_once


def wake_next() -> None:
    """Send a message for the long job that has waited longest."""
    following = Job.objects.filter(kind__in=LONG, state=State.QUEUED).order_by("created_at").first()
    if following is not None:
        queue.wake(following.pk)


def end_wait(job: Job) -> bool:
    """Put a job whose wait between two tries is over back in the queue."""
    return job.move(State.RETRYING, State.QUEUED, "the wait is over", next_try_at=None)


def failures(job: Job) -> int:
    """How many tries have failed since a person last asked. One whose worker died is not among them."""
    asked = job.events.filter(from_state__in=["", *ENDED]).order_by("pk").last()
    return job.events.filter(pk__gt=asked.pk if asked else 0, to_state=State.RETRYING).count()


def hand_back(job_id: UUID, why: str) -> bool:
    """Put a job this process works on back in the queue, with its bytes and without counting the try.

    For a worker that is told to stop. Returns False when this process does not hold the job.
    """
    job = Job.objects.filter(pk=job_id, worker__startswith=f"{worker.this_process()}:", state__in=WORKING).first()
    if job is None or not job.move(State(job.state), State.QUEUED, why, attempt=max(job.attempt - 1, 0), **_BACK):
        return False
    queue.wake(job_id)
    return True


def _same(kind: Kind, subject: str, request: dict[str, Any]) -> Job | None:
    running = active(kind, subject)
    if running is not None and running.request != request:
        raise _conflict(kind, subject)
    return running


def _refuse_opposite(kind: Kind, subject: str) -> None:
    opposite = _OPPOSITE.get(kind)
    if opposite and Job.objects.active().filter(kind=opposite, subject=subject).exists():
        raise _conflict(opposite, subject)


def _conflict(kind: Kind, subject: str) -> Conflict:
    return Conflict(
        f"Another {kind} job for {subject} is under way.", "Wait until it has ended, or cancel it, then ask again."
    )


def _lost(now: datetime, at_start: bool) -> list[Job]:
    lost = list(Job.objects.abandoned(now))
    if at_start:
        known = {job.pk for job in lost}
        lost += [job for job in Job.objects.working() if job.pk not in known and worker.is_dead(job.worker)]
    return lost


def _requeue_lost(job: Job) -> bool:
    """The worker of this job died: back into the queue, unless that happened too often."""
    state = State(job.state)
    lease = worker.process_of(job.worker)
    log.warning("%s (job %s): its worker %s died while it was %s.", job, job.pk, lease, state)
    if job.attempt >= DEATHS:
        leftovers.settle(job)
        return job.move(
            state,
            State.FAILED,
            f"its worker {lease} died, as {DEATHS - 1} others before",
            cause="worker died",
            error=f"The worker died {DEATHS} times while it did this.",
            action="Look at the worker's log for the cause, such as too little memory, then retry.",
            worker="",
            speed=None,
        )
    return job.move(state, State.QUEUED, f"its worker {lease} died while it was {state}", **_BACK)


def _end_cancelled() -> list[Job]:
    """Waiting jobs that somebody called off while they changed hands."""
    waiting = Job.objects.filter(state__in=WAITING | {State.PAUSED}, wanted=Wanted.CANCEL)
    return [job for job in waiting if _end_waiting(job, "worker")]


def _end_waiting(job: Job, by: str) -> bool:
    """A worker that takes the job at this very moment sees the wish before it does anything, and ends it itself."""
    leftovers.discard(job)
    return job.move(
        State(job.state),
        State.CANCELLED,
        "cancelled while it waited",
        by=by,
        message="Cancelled",
        worker="",
        bytes_done=0,
    )


def active(kind: Kind, subject: str) -> Job | None:
    """The job of this kind that is under way for the subject, if any."""
    return Job.objects.active().filter(kind=kind, subject=subject).first()
