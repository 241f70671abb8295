"""What every page's frame needs: where we are, and what is running anywhere."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from gallery.models import Job
from models.models import Instance

#: (label, URL name, name of the icon, key after `g`)
NAVIGATION = (
    ("Overview", "overview", "home", "o"),
    ("Models", "models:index", "cube", "m"),
    ("Gallery", "gallery:index", "store", "g"),
    ("Jobs", "gallery:jobs", "list", "j"),
    ("Monitor", "monitor:index", "activity", "i"),
)

#: How many of those under way the strip names, and how many it counts.
STRIP_SHOWS, STRIP_LOOKS_AT = 3, 50


def shell(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or getattr(request, "htmx", None):
        return {}
    return {
        "navigation": NAVIGATION,
        "here": request.resolver_match.view_name if request.resolver_match else "",
        "show_icons": settings.GALLERY_ICONS,
        **running(),
    }


def running() -> dict[str, Any]:
    """The strip under the top bar: jobs and loads that are under way, two queries."""
    jobs = list(Job.objects.active().order_by("created_at")[:STRIP_LOOKS_AT])
    instances = list(Instance.objects.moving()[:STRIP_LOOKS_AT])
    shown_jobs = jobs[:STRIP_SHOWS]
    shown_instances = instances[: STRIP_SHOWS - len(shown_jobs)]
    return {
        "running_jobs": shown_jobs,
        "moving_instances": shown_instances,
        "more_running": len(jobs) + len(instances) - len(shown_jobs) - len(shown_instances),
    }
