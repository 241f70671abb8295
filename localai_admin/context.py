"""What every page's frame needs: where we are, and what is running anywhere."""

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone

from gallery.job_figures import Figures, figures
from gallery.models import Job
from gallery.states import State, Wanted
from localai_admin.lib.polling import version_of
from models.models import Instance
from team.roles import ROLES

#: (label, URL name, name of the icon, key after `g`)
NAVIGATION = (
    ("Overview", "overview", "home", "o"),
    ("Models", "models:index", "cube", "m"),
    ("Gallery", "gallery:index", "store", "g"),
    ("Jobs", "gallery:jobs", "list", "j"),
    ("Monitor", "monitor:index", "activity", "i"),
    ("Disk", "gallery:disk", "disk", "d"),
)

#: How many of those under way the strip names, and how many it counts.
STRIP_SHOWS, STRIP_LOOKS_AT = 3, 50


#: Seconds between two looks at the strip: while something moves, and while nothing does.
STRIP_BUSY, STRIP_IDLE = 2, 8


class Running(NamedTuple):
    """A job under way, with what a line says of its progress."""

    job: Job
    figures: Figures


def shell(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or getattr(request, "htmx", None):
        return {}
    return {
        "navigation": NAVIGATION,
        "here": request.resolver_match.view_name if request.resolver_match else "",
        "show_icons": settings.GALLERY_ICONS,
        "role": role_of(user),
        **running(),
    }


def role_of(user: User) -> str:
    """The widest role whose permissions somebody holds, empty without any; asks nothing that was not asked before."""
    return next((name for name, held in reversed(ROLES.items()) if user.has_perms(held)), "")


def running(shows: int = STRIP_SHOWS) -> dict[str, Any]:
    """The strip under the top bar: jobs and loads that are under way, two queries. `shows` are named."""
    jobs = sorted(Job.objects.active().order_by("rank", "created_at")[:STRIP_LOOKS_AT], key=_first_what_moves)
    instances = list(Instance.objects.moving()[:STRIP_LOOKS_AT])
    shown_jobs = jobs[:shows]
    shown_instances = instances[: shows - len(shown_jobs)]
    named = [Running(job, figures(job, timezone.now())) for job in shown_jobs]
    marks = [_marks(*row) for row in named] + [(row.pk, row.state) for row in shown_instances]
    return {
        "running_jobs": named,
        "moving_instances": shown_instances,
        "strip_version": version_of(marks, len(jobs) + len(instances)),
        "more_running": len(jobs) + len(instances) - len(shown_jobs) - len(shown_instances),
        "all_running": len(jobs) + len(instances),
        "strip_seconds": STRIP_BUSY if jobs or instances else STRIP_IDLE,
    }


def _marks(job: Job, numbers: Figures) -> tuple[object, ...]:
    """What the strip says of a job."""
    far = job.bytes_done if numbers.percent is None else numbers.percent
    return job.pk, job.state, bool(numbers.silent_for), far


def _first_what_moves(job: Job) -> int:
    """Work before what waits, and a pause, which somebody wished, last."""
    if job.is_working:
        return 0 if job.wanted == Wanted.RUN else 1
    return 3 if job.state == State.PAUSED else 2
