"""What an install would do, worked out before anything is fetched."""

import uuid

from django.db import models
from django.urls import reverse
from django.utils import timezone


class Plan(models.Model):
    """The answer to one question. `data` is plain data, empty until a worker has worked it out."""

    WORKING, READY, FAILED = "working", "ready", "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject = models.CharField(max_length=300, help_text="The model's name on this host.")
    request = models.JSONField(default=dict, help_text="As the request of the install it would be.")
    by = models.CharField(max_length=150, blank=True)
    state = models.CharField(max_length=16, default=WORKING)
    data = models.JSONField(default=dict)
    cause = models.CharField(max_length=40, blank=True)
    error = models.TextField(blank=True)
    action = models.TextField(blank=True)
    job = models.ForeignKey("gallery.Job", null=True, blank=True, on_delete=models.SET_NULL, related_name="plans")
    created_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["-created_at"])]
        default_permissions = ()

    def __str__(self) -> str:
        return f"Plan of {self.subject}"

    def get_absolute_url(self) -> str:
        return reverse("gallery:plan", args=[self.pk])
