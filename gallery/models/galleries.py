"""Remote catalogues, and what was read of them."""

from typing import Self

from django.db import models
from django.urls import reverse


class GalleryQuerySet(models.QuerySet["Gallery"]):
    def shown(self) -> Self:
        return self.filter(enabled=True, named=True)


class Gallery(models.Model):
    """A remote catalogue, with the last good copy's date and the last error, if any.

    `enabled` is a person's choice; `named` is false when the settings that named it do so no longer.
    """

    SETTINGS, CONSOLE, STARTER = "settings", "console", "starter"

    name = models.CharField(max_length=100, unique=True)
    url = models.CharField(max_length=2000)
    mirrors = models.JSONField(default=list, blank=True)
    position = models.PositiveIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    named = models.BooleanField(default=True)
    source = models.CharField(max_length=16, default=SETTINGS, help_text="Who named it: settings, console or starter.")
    headers = models.JSONField(default=dict, blank=True, help_text="Sent to its own host alone; never shown.")
    refresh_minutes = models.PositiveIntegerField(null=True, blank=True, help_text="None is the default, 0 never.")

    etag = models.CharField(max_length=500, blank=True)
    last_modified = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the index that is shown.")
    checked_at = models.DateTimeField(null=True, blank=True, help_text="Last answer, changed or not.")
    refreshed_at = models.DateTimeField(null=True, blank=True, help_text="When what is shown was read.")
    answered_by = models.CharField(max_length=2000, blank=True, help_text="The address that gave what is shown.")
    error = models.TextField(blank=True, help_text="Why the last refresh failed; empty after a good one.")
    entry_count = models.PositiveIntegerField(default=0)

    objects = GalleryQuerySet.as_manager()

    class Meta:
        ordering = ["position", "name"]
        verbose_name_plural = "galleries"
        permissions = [("refresh_gallery", "Can refresh a gallery")]

    def __str__(self) -> str:
        return self.name


class EntryQuerySet(models.QuerySet["Entry"]):
    def shown(self) -> Self:
        return self.filter(gallery__enabled=True, gallery__named=True)


class Entry(models.Model):
    """One model in a gallery's index, as read. The whole of it is in `data`; the other columns are for finding it."""

    gallery = models.ForeignKey(Gallery, on_delete=models.CASCADE, related_name="entries")
    name = models.CharField(max_length=255)
    position = models.PositiveIntegerField(default=0, help_text="Place in the index.")
    summary = models.CharField(max_length=300, blank=True, help_text="First sentence of the description, as text.")
    license = models.CharField(max_length=255, blank=True)
    icon = models.CharField(max_length=2000, blank=True)
    backend = models.CharField(max_length=100, blank=True, help_text="Empty when the index does not say.")
    tags = models.JSONField(default=list, blank=True)
    usecases = models.JSONField(default=list, blank=True)
    size = models.BigIntegerField(null=True, blank=True, help_text="Bytes, where the index says.")
    search = models.TextField(blank=True, help_text="Name, tags and description, as they are searched.")
    data = models.JSONField(default=dict)
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of what installing it depends on.")

    objects = EntryQuerySet.as_manager()

    class Meta:
        ordering = ["gallery__position", "position"]
        verbose_name_plural = "entries"
        constraints = [models.UniqueConstraint(fields=["gallery", "name"], name="one_entry_a_gallery_and_name")]
        indexes = [
            models.Index(fields=["name"]),
            models.Index(fields=["backend"]),
            models.Index(fields=["license"]),
            models.Index(fields=["gallery", "position"]),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.full_name

    def get_absolute_url(self) -> str:
        return reverse("gallery:entry", args=[self.gallery.name, self.name])

    @property
    def full_name(self) -> str:
        """LocalAI's id of an entry: gallery@name. Needs `gallery` selected."""
        return f"{self.gallery.name}@{self.name}"
