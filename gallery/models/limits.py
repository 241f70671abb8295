"""How much of the line and of the worker installs may take, as people set it while they run."""

from django.db import models
from django.utils import timezone


class Limits(models.Model):
    """One row. Bandwidth is bytes a second over all downloads together; None is as fast as it goes."""

    at_once = models.PositiveSmallIntegerField(default=3, help_text="Installs at work at a time.")
    connections = models.PositiveSmallIntegerField(default=8, help_text="Connections of one install.")
    bandwidth = models.BigIntegerField(null=True, blank=True)
    quiet_from = models.TimeField(null=True, blank=True, help_text="In the console's time zone.")
    quiet_to = models.TimeField(null=True, blank=True)
    quiet_bandwidth = models.BigIntegerField(null=True, blank=True)
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "limits"
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return "Download limits"

    @classmethod
    def hold(cls) -> "Limits":
        """The row, locked until the transaction ends. Whoever decides about the queue takes it first: one at a time."""
        return Limits.objects.select_for_update().get_or_create(pk=1)[0]
