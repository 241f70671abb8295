"""What a row and a page of a job offer: its figures, its place in the queue, and what can be done about it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.humanize.templatetags.humanize import ordinal
from django.urls import reverse

from gallery.downloads.errors import DigestMismatch, NoSpace
from gallery.job_figures import figures
from gallery.models import Job
from gallery.services.running import TRIES

#: Where something can be done about a cause, beside trying again: label, URL name and query.
_PAGES = {
    NoSpace.cause: ("Make room", "gallery:disk", ""),
    DigestMismatch.cause: ("See what came instead", "gallery:disk", "?tab=downloads"),
}


@dataclass(frozen=True)
class WayOut:
    """The page that helps with what a job failed of."""

    label: str
    url: str


@dataclass(frozen=True)
class Act:
    """Something that can be done about a job: a button that posts. `aria` says what it is done to."""

    label: str
    url: str
    icon: str
    aria: str


@dataclass(frozen=True)
class Line:
    """The queue as it is now: the places of those that wait, how many are at work, and how many may be."""

    places: dict[str, int]
    at_work: int
    at_once: int

    def standing(self, job: Job) -> str:
        """Why a job waits, in a few words; empty when it does not stand in the queue."""
        place = self.places.get(str(job.pk))
        if place is None:
            return ""
        said = f"{ordinal(place)} in the queue"
        if self.at_work > self.at_once:
            return f"{said}: waits because {self.at_work} are at work, of {self.at_once} now allowed"
        if self.at_work == self.at_once:
            return f"{said}: waits because {self.at_work} of {self.at_once} are at work"
        return f"{said}: begins in a moment"


def row_of(job: Job, moment: datetime, line: Line, may_control: bool) -> dict[str, Any]:
    offered = acts(job, line) if may_control else []
    return {
        "job": job,
        "figures": figures(job, moment),
        "standing": line.standing(job),
        "tries": TRIES,
        "next_attempt": job.attempt + 1,
        "took": _took(job),
        "act": offered[0] if offered else None,
        "more": offered[1:],
        "more_label": f"More for {job}",
        "dismiss_label": f"Dismiss {job}",
        "way_out": _way_out(job),
        "can_retry": may_control and job.can_retry,
        "can_dismiss": may_control and job.has_failed and not job.dismissed,
    }


def acts(job: Job, line: Line) -> list[Act]:
    """What can be done, the likeliest first."""
    found = []
    if job.can_pause:
        found.append(_act(job, "pause", "Pause", "pause"))
    if job.can_resume:
        found.append(_act(job, "resume", "Resume", "play"))
    if job.can_retry:
        found.append(_act(job, "retry", "Retry", "refresh"))
    found += _moves(job, line)
    if job.can_cancel:
        found.append(_act(job, "cancel", "Cancel", "x"))
    return found


def _moves(job: Job, line: Line) -> list[Act]:
    place = line.places.get(str(job.pk), 0)
    if not place:
        return []
    moves = [("up", "Move up", "up", f"Move {job} up")] if place > 1 else []
    moves += [("down", "Move down", "down", f"Move {job} down")] if place < len(line.places) else []
    # For the second, up is the front.
    moves += [("front", "Move to the front", "up", f"Move {job} to the front")] if place > 2 else []
    return [Act(label, reverse("gallery:move", args=[job.pk, step]), icon, aria) for step, label, icon, aria in moves]


def _act(job: Job, name: str, label: str, icon: str) -> Act:
    return Act(label, reverse(f"gallery:{name}", args=[job.pk]), icon, f"{label} {job}")


def _way_out(job: Job) -> WayOut | None:
    if not job.has_failed or job.cause not in _PAGES:
        return None
    label, name, query = _PAGES[job.cause]
    return WayOut(label, reverse(name) + query)


def _took(job: Job) -> float | None:
    """Seconds from the first try to the end."""
    return (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else None
