"""What is done on the page about the disk: each act takes one thing away, or has a worker do it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from gallery.models import Revision
from gallery.services import disk, duplicates, kept, tidying
from gallery.services.errors import JobError
from localai_admin.lib import htmx
from localai_admin.lib.units import bytes_text
from team.access import requires


@requires("gallery.delete_model")
@require_POST
def unused(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "")
    try:
        messages.success(request, f"{name} is deleted, {bytes_text(tidying.remove_unused(name))} became free.")
    except JobError as error:
        messages.error(request, error.in_full)
    return _back(request)


@requires("gallery.delete_model")
@require_POST
def suspect(request: HttpRequest) -> HttpResponse:
    try:
        size = tidying.remove_suspect(request.POST.get("name", ""))
        messages.success(request, f"The suspect is deleted, {bytes_text(size)} became free.")
    except JobError as error:
        messages.error(request, error.in_full)
    return _back(request)


@requires("gallery.control_job")
@require_POST
def partial(request: HttpRequest) -> HttpResponse:
    """Calls a job off, or gives up its next try."""
    try:
        tidying.discard_partial(request.POST.get("name", ""), request.user)  # type: ignore[arg-type]  # nobody else comes
        messages.success(request, "The partial download is given up.")
    except JobError as error:
        messages.error(request, error.in_full)
    return _back(request)


@requires("gallery.delete_model")
@require_POST
def revision(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Revision.objects.on_this_node(), pk=pk)
    try:
        freed = kept.forget(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
        messages.success(request, f"{found} is no longer kept, {bytes_text(freed)} became free.")
    except JobError as error:
        messages.error(request, error.in_full)
    disk.forget()
    return _back(request)


@requires("gallery.delete_model")
@require_POST
def scan(request: HttpRequest) -> HttpResponse:
    try:
        duplicates.request_scan(request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        messages.error(request, error.in_full)
    return _back(request)


@requires("gallery.delete_model")
@require_POST
def link(request: HttpRequest) -> HttpResponse:
    sha256, keep = request.POST.get("sha256", ""), request.POST.get("keep", "")
    group = next((group for group in duplicates.groups(disk.look()) if group.sha256 == sha256), None)
    try:
        if group is None:
            messages.error(request, "These files are not equal any more. Find duplicates again.")
            return _back(request)
        job = duplicates.request_link(group, keep, request.user)  # type: ignore[arg-type]  # nobody else comes
    except JobError as error:
        messages.error(request, error.in_full)
        return _back(request)
    response = redirect(job)
    response.status_code = 303
    return response


def _back(request: HttpRequest) -> HttpResponse:
    return htmx.back(request, reverse("gallery:disk"))
