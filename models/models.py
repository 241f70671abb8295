"""What the console remembers of the backend processes: one row an instance, one row an event."""

from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import models, transaction
from django.utils import timezone

from models.states import ALIVE, MOVING, Desired, State, can_move
from team.people import name_of


class InstanceQuerySet(models.QuerySet["Instance"]):
    def on_this_node(self) -> Self:
        return self.filter(node=settings.NODE)

    def alive(self) -> Self:
        return self.filter(state__in=ALIVE)

    def moving(self) -> Self:
        return self.filter(state__in=MOVING)

    def in_use(self) -> Self:
        """Wanted, or still there in some form: what a page about running models shows."""
        return self.exclude(state=State.STOPPED, desired=Desired.STOPPED)


class Instance(models.Model):
    """A model in a backend process on a node. People write `desired`, only that node's agent writes the rest."""

    name = models.CharField(max_length=255, help_text="The model's name, as its configuration gives it.")
    node = models.CharField(max_length=64, default="local")
    backend = models.CharField(max_length=64, blank=True)

    desired = models.CharField(
        max_length=16, default=Desired.STOPPED.value, choices=[(d.value, d.capitalize()) for d in Desired]
    )
    desired_by = models.CharField(max_length=150, blank=True)
    desired_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(
        max_length=16, default=State.STOPPED.value, choices=[(s.value, s.capitalize()) for s in State]
    )
    state_since = models.DateTimeField(default=timezone.now)
    reason = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=0, help_text="Failures in a row.")
    next_try_at = models.DateTimeField(null=True, blank=True)

    address = models.CharField(max_length=255, blank=True, help_text="host:port of the gRPC server.")
    pid = models.PositiveIntegerField(null=True, blank=True)
    pid_started = models.FloatField(null=True, blank=True, help_text="Start time of the process, seconds since 1970.")
    ready_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = InstanceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["name", "node"], name="one_instance_a_model_and_node")]
        indexes = [models.Index(fields=["node", "desired", "state"])]
        default_permissions = ("view",)
        permissions = [
            ("load_model", "Can load a model into a backend"),
            ("stop_model", "Can shut a model down"),
            ("prompt_model", "Can send a prompt to a model"),
            ("view_log", "Can read the log of a backend"),
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.node}"

    @property
    def is_moving(self) -> bool:
        return self.state in MOVING

    @property
    def is_ready(self) -> bool:
        return self.state == State.READY

    @property
    def is_wanted(self) -> bool:
        return self.desired == Desired.RUNNING

    def request_load(self, by: AbstractBaseUser | None) -> None:
        """Record the wish that this model runs; the agent of its node does the rest. Clears the failures in a row."""
        self._wish(Desired.RUNNING, by, "load requested", attempt=0, next_try_at=None)

    def request_stop(self, by: AbstractBaseUser | None) -> None:
        """Record the wish that this model is shut down."""
        self._wish(Desired.STOPPED, by, "shutdown requested")

    def _wish(self, desired: Desired, by: AbstractBaseUser | None, why: str, **fields: Any) -> None:
        person = name_of(by)
        now = timezone.now()
        with transaction.atomic():
            Instance.objects.filter(pk=self.pk).update(desired=desired, desired_by=person, desired_at=now, **fields)
            InstanceEvent.objects.create(
                instance=self, at=now, by=person, from_state=self.state, to_state=self.state, why=why
            )
        self.refresh_from_db()

    def move(self, old: State, new: State, why: str, **fields: Any) -> bool:
        """Change the state if it still is `old`: one guarded UPDATE and one event row.

        Returns False, and changes nothing, when somebody else was first.
        """
        if not can_move(old, new):
            raise ValueError(f"an instance cannot go from {old} to {new}")
        now: datetime = timezone.now()
        with transaction.atomic():
            fields = {"state": new, "state_since": now, "reason": why, **fields}
            if not Instance.objects.filter(pk=self.pk, state=old).update(**fields):
                return False
            InstanceEvent.objects.create(instance=self, at=now, by="agent", from_state=old, to_state=new, why=why)
        return True


class InstanceEvent(models.Model):
    """One change or wish in the life of an instance. The rows are the history; none is ever changed."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=150, help_text="A person's name, or agent.")
    from_state = models.CharField(max_length=16)
    to_state = models.CharField(max_length=16)
    why = models.TextField(blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["instance", "-at"]), models.Index(fields=["-at"])]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.instance.name}: {self.from_state} to {self.to_state}"
