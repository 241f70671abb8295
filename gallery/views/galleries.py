"""The galleries themselves: where they come from, how they are, and what can be done about them."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from gallery.models import Gallery, Job
from gallery.services import galleries as service
from gallery.services import refresh as refreshing
from gallery.services.errors import JobError
from gallery.states import Kind
from localai_admin.lib import htmx
from localai_admin.lib.net import shown
from team.access import requires

#: Seconds between two looks while a gallery is being read.
BUSY = 2
WAYS = {"up": -1, "down": 1}
ORIGINS = {
    Gallery.SETTINGS: "named by LOCALAI_GALLERIES",
    Gallery.CONSOLE: "added here",
    Gallery.STARTER: "made by the first steps",
}


@requires("gallery.view_gallery")
@require_GET
def galleries(request: HttpRequest) -> HttpResponse:
    reading = {job.subject: job for job in Job.objects.active().filter(kind=Kind.REFRESH)}
    mark = _mark(reading)
    if htmx.wants_part(request) and reading and request.GET.get("v") == mark:
        return htmx.unchanged()
    found = list(Gallery.objects.all())
    rows = [_row(gallery, reading.get(gallery.name)) for gallery in found]
    context = {
        "section": "Gallery",
        "rows": rows,
        "entry_count": sum(gallery.entry_count for gallery in found if gallery.enabled and gallery.named),
        "setting_problems": refreshing.setting_problems(),
        "poll": f"{reverse('gallery:galleries')}?v={mark}",
        "live": BUSY if reading else None,
    }
    return htmx.render_partial(request, "gallery/galleries.html", context, partial="list")


@requires("gallery.refresh_gallery")
@require_POST
def refresh(request: HttpRequest, pk: int) -> HttpResponse:
    gallery = get_object_or_404(Gallery, pk=pk)
    try:
        refreshing.request_refresh(gallery, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        messages.error(request, error.in_full)
    return _back(request)


@requires("gallery.change_gallery")
@require_POST
def move(request: HttpRequest, pk: int, way: str) -> HttpResponse:
    if way not in WAYS:
        raise Http404
    service.move(get_object_or_404(Gallery, pk=pk), WAYS[way])
    return _back(request)


@requires("gallery.change_gallery")
@require_POST
def switch(request: HttpRequest, pk: int, way: str) -> HttpResponse:
    if way not in {"on", "off"}:
        raise Http404
    gallery = get_object_or_404(Gallery, pk=pk)
    service.switch(gallery, way == "on")
    if way == "off":
        messages.success(request, f"{gallery.name} is off: its {gallery.entry_count:,} entries are kept, not shown.")
    return _back(request)


@requires("gallery.delete_gallery")
@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    gallery = get_object_or_404(Gallery, pk=pk)
    if gallery.source == Gallery.SETTINGS and gallery.named:
        messages.error(request, f"{gallery.name} is named by LOCALAI_GALLERIES: take it out there, or switch it off.")
        return _back(request)
    count = service.remove(gallery, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    messages.success(request, f"The gallery {gallery.name} and its {count:,} entries are gone. Installed models stay.")
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    return htmx.back(request, reverse("gallery:galleries"))


def _mark(reading: dict[str, Job]) -> str:
    """Another text whenever the list would show something else while galleries are read."""
    return "-".join(f"{job.pk.hex[:6]}{job.state}" for job in sorted(reading.values(), key=lambda job: job.subject))


def _row(gallery: Gallery, job: Job | None) -> dict[str, Any]:
    due = refreshing.next_refresh(gallery, settings.GALLERY_REFRESH_MINUTES)
    return {
        "gallery": gallery,
        "job": job,
        "state": _state(gallery, job),
        "address": shown(gallery.url),
        "mirrors": [shown(mirror) for mirror in gallery.mirrors],
        "by_mirror": gallery.answered_by not in ("", shown(gallery.url)),
        "origin": ORIGINS.get(gallery.source, ""),
        "header_names": sorted(gallery.headers),
        "schedule": _schedule(gallery, due),
        "is_shown": gallery.enabled and gallery.named,
        "can_remove": gallery.source != Gallery.SETTINGS or not gallery.named,
        "confirm_removal": f"Remove {gallery.name} and its {gallery.entry_count:,} entries? Models that were installed "
        "from it stay.",
    }


def _state(gallery: Gallery, job: Job | None) -> tuple[str, str]:
    """A tone and a word."""
    if job is not None:
        return "working", "Reading"
    if not gallery.named:
        return "resting", "Not named"
    if not gallery.enabled:
        return "resting", "Off"
    if gallery.error:
        return ("attention", "Old copy") if gallery.refreshed_at else ("failed", "Failed")
    return ("ready", "Good") if gallery.refreshed_at else ("waiting", "Not read yet")


def _schedule(gallery: Gallery, due: datetime | None) -> dict[str, Any]:
    now = timezone.now()
    return {
        "by_button": due is None,
        "soon": due is not None and due <= now,
        "due": due if due and due > now else None,
        "minutes": gallery.refresh_minutes or settings.GALLERY_REFRESH_MINUTES,
    }
