"""The revisions of a model: what was installed when and by whom, what changed, and the way back."""

from itertools import pairwise
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from gallery.models import Job, Revision
from gallery.services import kept, rollback, updates
from gallery.services import revisions as service
from gallery.services.errors import JobError
from gallery.states import EXCLUSIVE
from localai_admin.lib import htmx
from localai_admin.lib.freshness import mark
from localai_admin.lib.paths import is_model_name
from localai_admin.lib.units import bytes_text
from models import inventory
from team.access import requires

#: Older ones are counted, not listed.
SHOWN = 30
#: Seconds between two looks while a job is at work on the model.
BUSY = 2


@requires("gallery.view_revision")
@require_GET
def revisions(request: HttpRequest, name: str) -> HttpResponse:
    job = Job.objects.active().filter(kind__in=sorted(EXCLUSIVE), subject=name).first()
    seen = mark(job.pk if job else None, job.state if job else None)
    if htmx.wants_part(request) and request.GET.get("v") == seen:
        return htmx.unchanged()
    rows = _rows(name)
    if not rows and inventory.config_folder().get(name) is None:
        raise Http404(f"Nothing was installed as {name}.")
    return htmx.render_partial(
        request, "gallery/revisions.html", _context(request, name, job, rows, seen), partial="list"
    )


@requires("gallery.install_model")
@require_POST
def roll_back(request: HttpRequest, name: str, number: int) -> HttpResponse:
    try:
        job = rollback.request_rollback(name, number, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        messages.error(request, error.in_full)
        return htmx.back(request, reverse("gallery:revisions", args=[name]))
    return HttpResponseRedirect(job.get_absolute_url(), status=303)


@requires("gallery.delete_model")
@require_POST
def forget(request: HttpRequest, name: str, number: int) -> HttpResponse:
    found = get_object_or_404(Revision.objects.on_this_node(), name=name, number=number)
    try:
        freed = kept.forget(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
        messages.success(request, f"Revision {number} of {name} is not kept any more; {bytes_text(freed)} became free.")
    except JobError as error:
        messages.error(request, error.in_full)
    return htmx.back(request, reverse("gallery:revisions", args=[name]))


def _rows(name: str) -> list[dict[str, Any]]:
    """The newest first, each with what it changed of the one before."""
    found = list(Revision.objects.on_this_node().filter(name=name).order_by("-number")[: SHOWN + 1])
    here = service.current(name) if is_model_name(name) else None
    if here and not here.pk:
        found = [here, *found]
    befores = {id(after): before for after, before in pairwise(found)}
    return [
        {
            "revision": revision,
            "is_here": here is not None and revision.number == here.number,
            "unknown": bool(revision.recipe.get("unknown")),
            "back_to": revision.recipe.get("back_to"),
            "changes": service.between(befores[id(revision)], revision) if id(revision) in befores else None,
        }
        for revision in found[:SHOWN]
    ]


def _context(request: HttpRequest, name: str, job: Job | None, rows: list[dict[str, Any]], seen: str) -> dict[str, Any]:
    return {
        "section": "Models",
        "name": name,
        "rows": rows,
        "job": job,
        "is_here": not rows or any(row["is_here"] for row in rows),
        "update": updates.of_model(name),
        "can_install": request.user.has_perm("gallery.install_model"),
        "can_forget": request.user.has_perm("gallery.delete_model"),
        "poll": f"{reverse('gallery:revisions', args=[name])}?v={seen}",
        "live": BUSY if job else None,
    }
