"""What was installed, revision by revision, and the digests of files in the models folder."""

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from gallery.downloads.specs import FileSpec
from localai_admin.lib.paths import file_name_for_model


class RevisionQuerySet(models.QuerySet["Revision"]):
    def on_this_node(self) -> Self:
        return self.filter(node=settings.NODE)

    def current(self) -> Self:
        return self.filter(is_current=True)

    def kept(self) -> Self:
        """Earlier revisions whose files are still here, so that they can come back."""
        return self.filter(is_current=False).exclude(kept_in="")


class Revision(models.Model):
    """One state of a model as an install left it. The current one is what the models folder should hold.

    `recipe` is everything the install wrote, as plain data: config, files (filename, uri, sha256, size), templates and
    gallery_file. `entry_digest` is that of the gallery's entry it came from, empty when it came from elsewhere.
    """

    name = models.CharField(max_length=255, help_text="The model's name on this host.")
    node = models.CharField(max_length=64, default="local")
    number = models.PositiveIntegerField(default=1)
    is_current = models.BooleanField(default=True)

    gallery = models.CharField(max_length=100, blank=True, help_text="Empty when it came from no gallery.")
    entry = models.CharField(max_length=255, blank=True, help_text="The entry's name there.")
    entry_digest = models.CharField(max_length=64, blank=True)
    recipe = models.JSONField(default=dict)
    configured = models.BooleanField(default=True, help_text="Whether it has a configuration, or brought files alone.")
    record_digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of its gallery record: another one was written by somebody else."
    )
    bytes = models.BigIntegerField(default=0)
    kept_in = models.CharField(max_length=300, blank=True, help_text="Folder of what it had, once replaced.")
    kept_bytes = models.BigIntegerField(default=0, help_text="How much is in that folder.")

    by = models.CharField(max_length=150, blank=True)
    job = models.ForeignKey("gallery.Job", null=True, blank=True, on_delete=models.SET_NULL, related_name="revisions")
    installed_at = models.DateTimeField(default=timezone.now)
    replaced_at = models.DateTimeField(null=True, blank=True)

    objects = RevisionQuerySet.as_manager()

    class Meta:
        ordering = ["name", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["node", "name", "number"], name="one_row_a_revision"),
            models.UniqueConstraint(
                fields=["node", "name"], condition=models.Q(is_current=True), name="one_current_revision"
            ),
        ]
        indexes = [models.Index(fields=["gallery", "entry"])]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.name}, revision {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("gallery:revisions", args=[self.name])

    @property
    def specs(self) -> list[FileSpec]:
        """The files it brought."""
        files: list[dict[str, Any]] = self.recipe.get("files", [])
        return [FileSpec(file["filename"], file["sha256"], file["uri"], file["size"]) for file in files]

    @property
    def brought(self) -> frozenset[str]:
        """Names of every file that it put into the models folder."""
        stem = file_name_for_model(self.name)
        own = [f"._gallery_{stem}.yaml", *([f"{stem}.yaml"] if self.configured else [])]
        templates = [name for name, _ in self.recipe.get("templates", [])]
        return frozenset([file.filename for file in self.specs] + templates + own)

    @property
    def is_kept(self) -> bool:
        return not self.is_current and bool(self.kept_in)

    @property
    def label(self) -> str:
        return str(self.number)

    @property
    def roll_back_question(self) -> str:
        return f"{self.name} is shut down when it runs. What is installed now is kept, for a way forward again."

    @property
    def full_entry(self) -> str:
        """LocalAI's id of the entry it came from; empty when it came from none."""
        return f"{self.gallery}@{self.entry}" if self.gallery and self.entry else self.entry


class KnownFile(models.Model):
    """The digest of a file in the models folder, good for as long as its size and time are these."""

    node = models.CharField(max_length=64, default="local")
    path = models.CharField(max_length=1000, help_text="Relative to the models folder.")
    size = models.BigIntegerField()
    mtime_ns = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["node", "path"], name="one_digest_a_file")]
        indexes = [models.Index(fields=["sha256"])]
        default_permissions = ()

    def __str__(self) -> str:
        return self.path
