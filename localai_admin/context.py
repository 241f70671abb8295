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
    return {
        "running_jobs": list(Job.objects.active().order_by("created_at")[:5]),
        "moving_instances": list(Instance.objects.moving()[:5]),
    }
