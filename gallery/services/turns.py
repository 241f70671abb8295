"""The queue of long jobs: whose turn it is, and how people change that. The order is `Job.objects.line()`."""

from enum import StrEnum
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from gallery.models import Job, Limits
from gallery.states import IN_LINE
from team.people import name_of


class Step(StrEnum):
    UP = "up"
    DOWN = "down"
    FRONT = "front"


_SAID = {Step.UP: "moved up in the queue", Step.DOWN: "moved down in the queue", Step.FRONT: "moved to the front"}


def at_work() -> int:
    """How many of the places for long jobs are taken."""
    return Job.objects.working().filter(kind__in=IN_LINE).count()


def due(at_once: int) -> list[UUID]:
    """The jobs that may begin now, when `at_once` may be at work."""
    free = max(at_once - at_work(), 0)
    return list(Job.objects.in_line().values_list("pk", flat=True)[:free])


def is_its_turn(job: Job, at_once: int) -> bool:
    """Whether a job may begin: long ones stand in a queue, at most `at_once` of them are at work."""
    return job.kind not in IN_LINE or job.pk in due(at_once)


def move(job: Job, step: Step, by: AbstractBaseUser | None) -> bool:
    """Change the place of a job that waits for its turn. Returns False when it does not wait, or is there already.

    Every job in the queue gets a rank of its own, below that of those to come; of two people who move at once, the
    second moves in the order that the first has made.
    """
    now = timezone.now()
    with transaction.atomic():
        Limits.hold()
        line = list(Job.objects.line())
        waiting = [other for other in line if other.can_be_moved]
        here = next((place for place, other in enumerate(waiting) if other.pk == job.pk), None)
        there = None if here is None else {Step.UP: here - 1, Step.DOWN: here + 1, Step.FRONT: 0}[step]
        if here is None or there is None or there == here or not 0 <= there < len(waiting):
            return False
        _put(line, waiting[here], waiting[there], after=step == Step.DOWN)
        changed = [other for rank, other in enumerate(line, start=-len(line)) if _rank(other, rank)]
        Job.objects.filter(pk__in=[other.pk for other in changed]).update(changed_at=now)
        Job.objects.bulk_update(changed, ["rank"])
        waiting[here].note(name_of(by), _SAID[step], now)
    job.refresh_from_db()
    return True


def _put(line: list[Job], job: Job, beside: Job, *, after: bool) -> None:
    line.remove(job)
    line.insert(line.index(beside) + after, job)


def _rank(job: Job, rank: int) -> bool:
    """Give the job the rank; False when it had it already."""
    changed = job.rank != rank
    job.rank = rank
    return changed
