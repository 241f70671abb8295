"""What the console remembers of galleries, of every job, and of what was installed by them."""

from gallery.models.galleries import Entry, EntryQuerySet, Gallery
from gallery.models.installed import KnownFile, Revision
from gallery.models.jobs import HEARTBEAT_LOST, Job, JobEvent, JobFile, JobQuerySet
from gallery.models.limits import Limits
from gallery.models.plans import Plan
from gallery.models.search import SearchPart

__all__ = [
    "HEARTBEAT_LOST", "Entry", "EntryQuerySet", "Gallery", "Job", "JobEvent", "JobFile", "JobQuerySet",
    "KnownFile", "Limits", "Plan", "Revision", "SearchPart",
]  # fmt: skip
