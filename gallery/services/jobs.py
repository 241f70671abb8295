"""Jobs: made once, called off, tried again, put aside, and found again when their worker died."""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from gallery.models import Job, JobEvent, Limits
from gallery.services import leftovers, queue, worker
from gallery.services.errors import Conflict
from gallery.states import (
    ENDED,
    EXCLUSIVE,
    PAUSABLE,
    PAUSABLE_KINDS,
    RETRYABLE,
    WAITING,
    WORKING,
    Kind,
    State,
    Wanted,
)
from team.people import name_of

log = logging.getLogger(__name__)

#: A queued job this old without a message has lost it.
MESSAGE_LOST = timedelta(seconds=10)
#: A job that took this many workers down with it is not given to another.
DEATHS = 10

_ASKED_TO_PAUSE = "pause requested"

#: Fields of a job that goes back into the queue through no fault of its own.
_BACK: dict[str, Any] = {
    "worker": "",
    "heartbeat_at": None,
    "speed": None,
    "message": "Waiting for a worker",
}


def create(kind: Kind, subject: str, request: dict[str, Any], by: AbstractBaseUser | None) -> tuple[Job, bool]:
    """The job that does what is asked, and whether it is new: asking again returns the one that is under way.

    Raises Conflict when a job of the same kind does something else to the subject, or one of a kind that must not be
    at work beside it is under way.
    """
    subject = subject.strip()
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
    settle(job, name_of(by))
    return True


def request_pause(job: Job, by: AbstractBaseUser | None) -> bool:
    """Let the job rest, with its bytes. One that waits rests at once, one at work when its worker has let go.

    Returns False when it has ended, rests already, is of a kind that cannot, or its files are being put in place.
    """
    can = job.kind in PAUSABLE_KINDS and not leftovers.in_commit(job)
    if not can or not job.want(Wanted.PAUSE, by, _ASKED_TO_PAUSE, PAUSABLE, [Wanted.RUN]):
        return False
    settle(job, name_of(by))
    return True


def resume(job: Job, by: AbstractBaseUser | None) -> bool:
    """Let a paused job go on, from its bytes and at its place in the queue. Returns False when it is not paused."""
    if not job.want(Wanted.RUN, by, "asked to go on", PAUSABLE | {State.PAUSED}, [Wanted.PAUSE]):
        return False
    settle(job, name_of(by))
    return True


def pause_all(by: AbstractBaseUser | None) -> int:
    """Let every job rest that can. Returns how many. Those that wait come first: none begins because another rests."""
    found = Job.objects.filter(kind__in=PAUSABLE_KINDS, state__in=PAUSABLE, wanted=Wanted.RUN)
    return sum(request_pause(job, by) for job in sorted(found, key=lambda job: job.is_working))


def resume_all(by: AbstractBaseUser | None) -> int:
    """Let every paused job go on, in the order of the queue. Returns how many."""
    return sum(resume(job, by) for job in Job.objects.line().filter(wanted=Wanted.PAUSE))


def settle(job: Job, by: str = "worker") -> bool:
    """Do what is wanted of a job that nobody works on: end it, let it rest, or send it on its way.

    A worker that takes the job at this very moment sees the wish before it does anything, and does it itself.
    """
    state, wanted = State(job.state), Wanted(job.wanted)
    if wanted == Wanted.CANCEL and state in WAITING | {State.PAUSED}:
        return _end_waiting(job, by)
    if wanted == Wanted.PAUSE and state in WAITING:
        return job.move(state, State.PAUSED, "paused while it waited", by, message=paused_by(job), next_try_at=None)
    if wanted == Wanted.RUN and state == State.PAUSED:
        with transaction.atomic():
            transaction.on_commit(partial(queue.wake, job.pk))
            return job.move(state, State.QUEUED, "it goes on", by, message="Waiting for a worker")
    return False


def paused_by(job: Job) -> str:
    """Who wished the job to rest, in a sentence."""
    asked = job.events.filter(why=_ASKED_TO_PAUSE).order_by("pk").last()
    return f"Paused by {(asked.by if asked else '') or 'the console'}"


def retry(job: Job, by: AbstractBaseUser | None) -> bool:
    """Try a failed or cancelled job again, from the bytes that are here. Returns False when it is not one of those.

    The error stays readable until a try has gone well. Raises Conflict when another job took its place.
    """
    ended = State(job.state)
    if ended not in RETRYABLE:
        return False
    fresh = {"wanted": Wanted.RUN, "attempt": 0, "next_try_at": None, "dismissed": False}
    fresh |= {"started_at": None, "finished_at": None}
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
    due = Job.objects.due(now)
    found = [job for job in _lost(now, at_start) if _requeue_lost(job)] + [job for job in due if end_wait(job)]
    settled = _settle_wishes()
    late = now if at_start else now - MESSAGE_LOST
    queued = set(Job.objects.overlooked(late, now).values_list("pk", flat=True))
    queued |= {job.pk for job in found if job.state == State.QUEUED} - {job.pk for job in settled}
    if queued:
        for pk in queued - queue.waiting():
            queue.wake(pk)
    return [job.pk for job in found + settled]


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
    job.refresh_from_db()
    if not settle(job):
        queue.wake(job_id)
    return True


def _same(kind: Kind, subject: str, request: dict[str, Any]) -> Job | None:
    running = active(kind, subject)
    if running is not None and _meaning(running.request) != _meaning(request):
        raise _conflict(kind, subject)
    return running


def _meaning(request: dict[str, Any]) -> dict[str, Any]:
    """A request without what makes no difference: fields that say nothing, and space around a text."""
    trimmed = {key: value.strip() if isinstance(value, str) else value for key, value in request.items()}
    return {key: value for key, value in trimmed.items() if value not in (None, "", False, {}, [])}


def _refuse_opposite(kind: Kind, subject: str) -> None:
    if kind not in EXCLUSIVE:
        return
    Limits.hold()
    other = Job.objects.active().filter(kind__in=EXCLUSIVE - {kind}, subject=subject).first()
    if other is not None:
        raise _conflict(Kind(other.kind), subject)


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


def _settle_wishes() -> list[Job]:
    """Jobs of which somebody wished something while they changed hands."""
    waiting = Q(state__in=WAITING) & ~Q(wanted=Wanted.RUN)
    resting = Q(state=State.PAUSED) & ~Q(wanted=Wanted.PAUSE)
    return [job for job in Job.objects.filter(waiting | resting) if settle(job)]


def _end_waiting(job: Job, by: str) -> bool:
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
