"""Plans: asked for once, worked out by a worker, and confirmed, which makes the job of the install."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from gallery.catalog.errors import CatalogError
from gallery.downloads.errors import DownloadError
from gallery.models import Job, Plan
from gallery.services import installs, planning, queue
from gallery.services.errors import JobError
from gallery.states import ACTIVE
from team.people import name_of

log = logging.getLogger(__name__)

#: The same question by the same person is the same plan for so long.
SAME = timedelta(minutes=1)
#: So many plans may wait or be worked out at a time, and of one person.
MOST, MOST_OF_ONE = 20, 8
#: A worker that has not answered after this never will.
LOST = timedelta(seconds=60)
#: What is older may not be true any more, and is looked at again before it is acted upon.
OLD = timedelta(hours=1)


class PlanRefused(JobError):
    """The plan says itself that it cannot be carried out."""

    cause = "refused"


class TooMany(JobError):
    """The worker has as many plans to work out as it should."""

    cause = "too many"
    retry = True


class NotReady(JobError):
    """The plan is being worked out, maybe again: there is nothing yet that somebody could have agreed to."""

    cause = "not ready"
    retry = True


def request_plan(request: Mapping[str, Any], by: AbstractBaseUser | None) -> Plan:
    """The plan of what a request of an install asks for; a worker works it out.

    One that says it cannot be carried out is not given twice: what was in the way may be gone. Raises NameTaken,
    BadEntry, TooMany.
    """
    installs.refuse_taken(request["name"])
    now = timezone.now()
    with transaction.atomic():
        recent = Plan.objects.filter(by=name_of(by), subject=request["name"], created_at__gt=now - SAME)
        unused = recent.filter(Q(job=None) | Q(job__state__in=ACTIVE)).exclude(state=Plan.FAILED)
        found = next((plan for plan in unused if plan.request == dict(request) and not plan.data.get("refusals")), None)
        if found is not None:
            return found
        _refuse_many(name_of(by))
        plan = Plan.objects.create(subject=request["name"], request=dict(request), by=name_of(by))
        transaction.on_commit(partial(queue.wake_plan, plan.pk))
    return plan


def _refuse_many(person: str) -> None:
    """Plans go before everything else in the queue: nobody may hold all of the worker's threads by asking on and on."""
    waiting = Plan.objects.filter(state=Plan.WORKING, created_at__gt=timezone.now() - LOST)
    working = list(waiting.values_list("by", flat=True)[:MOST])
    if len(working) >= MOST or working.count(person) >= MOST_OF_ONE:
        raise TooMany(
            f"{len(working)} plans are being worked out, more than can be done at once.", "Try again in a moment."
        )


def renamed(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same request for a model of another name."""
    other = {**request, "name": name}
    if "described" in other:
        other["described"] = {**other["described"], "name": name}
    return other


def again(plan: Plan) -> None:
    """Work the plan out once more, as if it had just been asked for."""
    fresh: dict[str, Any] = {
        "state": Plan.WORKING,
        "data": {},
        "cause": "",
        "error": "",
        "action": "",
        "ready_at": None,
    }
    with transaction.atomic():
        # One that is being worked out already is not worked out by a second thread as well.
        ended = Plan.objects.filter(pk=plan.pk, job=None).exclude(state=Plan.WORKING)
        if ended.update(**fresh, created_at=timezone.now()):
            transaction.on_commit(partial(queue.wake_plan, plan.pk))
    plan.refresh_from_db()


def confirm(plan: Plan, by: AbstractBaseUser | None) -> Job:
    """Do what the plan says. Confirmed twice, it is the same job.

    Raises NotReady while it is worked out; of one older than an hour, that begins now. Raises PlanRefused, and other
    JobErrors when something came in between.
    """
    if plan.job is not None:
        return plan.job
    if plan.state != Plan.READY or plan.ready_at is None:
        raise NotReady("The plan is not worked out yet.", "Wait for it, then install.")
    if plan.ready_at < timezone.now() - OLD:
        again(plan)
        raise NotReady("The plan was more than an hour old.", "It is worked out again; look at it, then install.")
    for refusal in plan.data.get("refusals", ()):
        raise PlanRefused(refusal["sentence"], refusal["action"])
    with transaction.atomic():
        # Together, for the job begins with what its plan knows.
        job = installs.request(plan.request, by)
        Plan.objects.filter(pk=plan.pk, job=None).update(job=job)
    plan.refresh_from_db()
    return plan.job or job


def make_plan(plan_id: UUID) -> None:
    """Work a plan out. Safe to run twice: the answer of the first that is done counts."""
    plan = Plan.objects.filter(pk=plan_id, state=Plan.WORKING).first()
    if plan is None:
        return
    try:
        data = planning.make(plan.request, partial(_show, plan))
    except (JobError, CatalogError, DownloadError) as error:
        log.warning("%s (plan %s) failed: %s %s", plan, plan.pk, error, error.action)
        _end(plan, state=Plan.FAILED, cause=error.cause[:40], error=str(error), action=error.action)
    except Exception as error:
        # The edge of the worker's loop: whatever it was, somebody waits for an answer.
        log.exception("The plan of %s failed unexpectedly", plan.subject)
        sentence = f"The console failed at this: {type(error).__name__}: {error}"
        _end(plan, state=Plan.FAILED, cause="internal", error=sentence, action="The worker's log has the details.")
    else:
        _end(plan, state=Plan.READY, data=data)


def end_lost(now: datetime) -> int:
    """Say of every plan whose worker never answered that it did not. Returns how many there were."""
    return Plan.objects.filter(state=Plan.WORKING, created_at__lt=now - LOST).update(
        state=Plan.FAILED,
        ready_at=now,
        cause="no answer",
        error="No worker has worked this plan out within a minute: it died over it, or none is running.",
        action="Try again; if that does not help, look whether the worker runs.",
    )


def wake_waiting() -> None:
    """Send plans that an earlier worker left on their way again. For the start of a worker."""
    for pk in Plan.objects.filter(state=Plan.WORKING).values_list("pk", flat=True):
        queue.wake_plan(pk)


def _show(plan: Plan, data: dict[str, Any]) -> None:
    Plan.objects.filter(pk=plan.pk, state=Plan.WORKING).update(data=data)


def _end(plan: Plan, **fields: Any) -> None:
    Plan.objects.filter(pk=plan.pk, state=Plan.WORKING).update(**fields, ready_at=timezone.now())
