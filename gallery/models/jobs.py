"""Every job, with its files and its history: the rows are the truth, the queue only wakes a worker."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self

from django.contrib.auth.models import AbstractBaseUser
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone

from gallery.states import (
    ACTIVE,
    CANCELLABLE,
    ENDED,
    IN_LINE,
    PAUSABLE,
    PAUSABLE_KINDS,
    RETRYABLE,
    WORKING,
    Kind,
    State,
    Wanted,
    can_move,
)
from team.people import name_of

#: A working job whose heartbeat is older than this has lost its worker.
HEARTBEAT_LOST = timedelta(seconds=30)
#: No job waits longer than this for its next try, whatever a server asks for: it is an hour at most.
LONGEST_RETRY = timedelta(hours=2)


class JobQuerySet(models.QuerySet["Job"]):
    def active(self) -> Self:
        return self.filter(state__in=ACTIVE)

    def working(self) -> Self:
        return self.filter(state__in=WORKING)

    def needs_attention(self) -> Self:
        return self.filter(state=State.FAILED, dismissed=False)

    def ended(self) -> Self:
        return self.filter(state__in=ENDED)

    def line(self) -> Self:
        """Long jobs that have not ended, in the order of the queue: those at work and paused keep their place."""
        return self.active().filter(kind__in=IN_LINE).order_by("rank", "created_at", "pk")

    def in_line(self) -> Self:
        """Long jobs that wait for their turn, the next one first."""
        return self.line().filter(state=State.QUEUED, wanted=Wanted.RUN)

    def abandoned(self, now: datetime) -> Self:
        """Working, but nobody has kept the heartbeat: the worker died.

        One of the future is no heartbeat either: the clock was set back since, and nobody has written one after that.
        """
        stale = models.Q(heartbeat_at__lt=now - HEARTBEAT_LOST) | models.Q(heartbeat_at__gt=now + HEARTBEAT_LOST)
        return self.working().filter(stale)

    def due(self, now: datetime) -> Self:
        """Waiting for a next try whose time has come, or is further away than any wait: then the clock was set back."""
        come = models.Q(next_try_at__lte=now) | models.Q(next_try_at__gt=now + LONGEST_RETRY)
        return self.filter(state=State.RETRYING).filter(come)

    def overlooked(self, before: datetime, now: datetime) -> Self:
        """Queued since before then, so that its message is lost; or since a later moment: the clock was set back."""
        changed = models.Q(changed_at__lte=before) | models.Q(changed_at__gt=now)
        return self.filter(state=State.QUEUED).filter(changed)


class Job(models.Model):
    """One piece of long work. What is wanted (`wanted`) and what is happening (`state`) are two fields."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=[(k.value, k.capitalize()) for k in Kind])
    subject = models.CharField(max_length=300, help_text="The model or gallery it is about.")
    request = models.JSONField(default=dict, help_text="What exactly was asked.")
    by = models.CharField(max_length=150, blank=True, help_text="Who asked; empty for the console itself.")

    wanted = models.CharField(
        max_length=8, default=Wanted.RUN.value, choices=[(w.value, w.capitalize()) for w in Wanted]
    )
    state = models.CharField(
        max_length=16, default=State.QUEUED.value, choices=[(s.value, s.capitalize()) for s in State]
    )
    message = models.CharField(max_length=500, blank=True, help_text="What is being done, in a few words.")
    rank = models.BigIntegerField(default=0, help_text="Place in the queue: lower ones first, then the older ones.")
    attempt = models.PositiveIntegerField(default=0, help_text="Tries begun since a person last asked.")
    next_try_at = models.DateTimeField(null=True, blank=True)

    cause = models.CharField(max_length=40, blank=True, help_text="Class of the last failure.")
    error = models.TextField(blank=True, help_text="The last failure, in a sentence.")
    action = models.TextField(blank=True, help_text="What a person can do about it.")
    dismissed = models.BooleanField(default=False)

    bytes_total = models.BigIntegerField(null=True, blank=True, help_text="None while unknown.")
    bytes_done = models.BigIntegerField(default=0)
    bytes_fetched = models.BigIntegerField(default=0, help_text="Over the wire, what came twice counted twice.")
    speed = models.FloatField(null=True, blank=True, help_text="Bytes a second over the last ten seconds.")
    last_data_at = models.DateTimeField(null=True, blank=True)

    worker = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(default=timezone.now, help_text="Any change a page would show.")

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=models.Q(state__in=sorted(state.value for state in ACTIVE)),
                name="one_active_job_a_subject",
            )
        ]
        indexes = [
            models.Index(fields=["state", "-created_at"]),
            models.Index(fields=["state", "rank", "created_at"]),
            models.Index(fields=["-created_at"]),
            models.Index(fields=["subject", "-created_at"]),
        ]
        default_permissions = ("view",)
        permissions = [
            ("install_model", "Can install a model"),
            ("delete_model", "Can delete a model"),
            ("import_model", "Can import a model that is in no gallery"),
            ("control_job", "Can pause, cancel, retry and reorder jobs"),
        ]

    def __str__(self) -> str:
        return "Prepare starter gallery" if self.kind == Kind.STARTER else f"{self.kind.capitalize()} {self.subject}"

    def get_absolute_url(self) -> str:
        return reverse("gallery:job", args=[self.pk])

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def is_working(self) -> bool:
        return self.state in WORKING

    @property
    def is_downloading(self) -> bool:
        return self.state == State.DOWNLOADING

    @property
    def is_retrying(self) -> bool:
        return self.state == State.RETRYING

    @property
    def has_failed(self) -> bool:
        return self.state == State.FAILED

    @property
    def can_cancel(self) -> bool:
        return self.state in CANCELLABLE and self.wanted != Wanted.CANCEL

    @property
    def can_retry(self) -> bool:
        return self.state in RETRYABLE

    @property
    def is_being_cancelled(self) -> bool:
        return self.wanted == Wanted.CANCEL and self.is_active

    @property
    def can_pause(self) -> bool:
        return self.kind in PAUSABLE_KINDS and self.state in PAUSABLE and self.wanted == Wanted.RUN

    @property
    def is_being_paused(self) -> bool:
        return self.wanted == Wanted.PAUSE and self.state in PAUSABLE

    @property
    def is_paused(self) -> bool:
        return self.state == State.PAUSED

    @property
    def is_queued(self) -> bool:
        return self.state == State.QUEUED

    @property
    def can_resume(self) -> bool:
        return self.is_paused or self.is_being_paused

    @property
    def can_be_moved(self) -> bool:
        return self.kind in IN_LINE and self.is_queued and self.wanted == Wanted.RUN

    def move(self, old: State, new: State, why: str, by: str = "worker", **fields: Any) -> bool:
        """Change the state if it still is `old`: one guarded UPDATE and one event row.

        Returns False, and changes nothing, when somebody else was first.
        """
        if not can_move(old, new):
            raise ValueError(f"a job cannot go from {old} to {new}")
        now = timezone.now()
        fields = {"state": new, "changed_at": now, **fields}
        if new in ENDED:
            fields.setdefault("finished_at", now)
        with transaction.atomic():
            if not Job.objects.filter(pk=self.pk, state=old).update(**fields):
                return False
            JobEvent.objects.create(job=self, at=now, by=by, from_state=old, to_state=new, why=why)
        for field, value in fields.items():
            setattr(self, field, value)
        return True

    def want(
        self,
        wanted: Wanted,
        by: AbstractBaseUser | None,
        why: str,
        states: Iterable[State] = CANCELLABLE,
        instead_of: Iterable[Wanted] = Wanted,
    ) -> bool:
        """Record what a person wants of an active job; returns False when it has ended or is beyond that.

        It must be in one of the states, and what was wanted before one of `instead_of`.
        """
        now = timezone.now()
        with transaction.atomic():
            found = Job.objects.filter(pk=self.pk, state__in=list(states), wanted__in=list(instead_of))
            changed = found.update(wanted=wanted, changed_at=now)
            self.refresh_from_db()
            if changed:
                self.note(name_of(by), why, now)
        return bool(changed)

    def note(self, by: str, why: str, at: datetime) -> None:
        """Write what somebody did that changes no state into the history."""
        JobEvent.objects.create(job=self, at=at, by=by, from_state=self.state, to_state=self.state, why=why)


class JobFile(models.Model):
    """A file of a job, with how much of it is here."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="files")
    position = models.PositiveIntegerField(default=0)
    filename = models.CharField(max_length=1000)
    uri = models.CharField(max_length=2000)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    done = models.BigIntegerField(default=0)
    status = models.CharField(max_length=40, blank=True, help_text="waiting, downloading, verified, already here …")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["job", "filename"], name="one_row_a_job_and_file")]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.filename


class JobEvent(models.Model):
    """One change or wish in the life of a job. The rows are the history; none is ever changed."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=150, blank=True, help_text="A person's name, or worker.")
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    why = models.TextField(blank=True)

    class Meta:
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["job", "at"]), models.Index(fields=["-at"])]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.from_state} to {self.to_state}"
