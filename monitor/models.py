"""What the host and the backends used, a row a sample. How long they are kept is in retention.py."""

from django.db import models
from django.utils import timezone

from models.models import Instance


class Sample(models.Model):
    """What the process tree of one instance used at one moment."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField(default=timezone.now)
    cpu_percent = models.FloatField(help_text="Of one core, over the time since the sample before.")
    rss = models.BigIntegerField(help_text="Resident bytes of the whole process tree.")
    processes = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["instance", "at"]), models.Index(fields=["at"])]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.instance_id} at {self.at:%H:%M:%S}"


class HostSample(models.Model):
    """What a whole node used at one moment."""

    node = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    cpu_percent = models.FloatField(help_text="Of all cores.")
    cores = models.PositiveIntegerField(default=1)
    memory_total = models.BigIntegerField()
    memory_used = models.BigIntegerField()
    disk_total = models.BigIntegerField(help_text="Of the file system that holds the models.")
    disk_free = models.BigIntegerField()
    gpus = models.JSONField(default=list, help_text="name, memory_total, memory_used, load of each; empty without one.")

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["node", "at"])]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.node} at {self.at:%H:%M:%S}"
