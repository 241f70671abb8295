"""What people do about jobs: each view does one act, and says so when it came too late."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from gallery.models import Job
from gallery.services import jobs as service
from gallery.services import turns
from gallery.services.errors import JobError
from localai_admin.lib import htmx
from team.access import requires


@requires("gallery.control_job")
@require_POST
def cancel(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    done = service.request_cancel(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    return _answer(request, found, done, "It is too late to cancel")


@requires("gallery.control_job")
@require_POST
def pause(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    done = service.request_pause(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    return _answer(request, found, done, "There is nothing to pause")


@requires("gallery.control_job")
@require_POST
def resume(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    done = service.resume(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    return _answer(request, found, done, "There is nothing to resume")


@requires("gallery.control_job")
@require_POST
def move(request: HttpRequest, pk: str, step: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    if step not in set(turns.Step):
        raise Http404
    done = turns.move(found, turns.Step(step), request.user)  # type: ignore[arg-type]  # nobody else comes this far
    return _answer(request, found, done, "Its place in the queue cannot be changed")


@requires("gallery.control_job")
@require_POST
def retry(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    try:
        done = service.retry(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        messages.error(request, error.in_full)
        return htmx.back(request, found.get_absolute_url())
    return _answer(request, found, done, "There is nothing to retry")


@requires("gallery.control_job")
@require_POST
def dismiss(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    done = service.dismiss(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    return _answer(request, found, done, "There is nothing to dismiss")


@requires("gallery.control_job")
@require_POST
def pause_all(request: HttpRequest) -> HttpResponse:
    if not service.pause_all(request.user):  # type: ignore[arg-type]  # nobody else comes this far
        messages.info(request, "There was nothing to pause.")
    return htmx.back(request, reverse("gallery:jobs"))


@requires("gallery.control_job")
@require_POST
def resume_all(request: HttpRequest) -> HttpResponse:
    if not service.resume_all(request.user):  # type: ignore[arg-type]  # nobody else comes this far
        messages.info(request, "There was nothing to resume.")
    return htmx.back(request, reverse("gallery:jobs"))


def _answer(request: HttpRequest, job: Job, done: bool, too_late: str) -> HttpResponse:
    if not done:
        job.refresh_from_db()
        messages.error(request, f"{too_late}: {job.subject} is {job.state}.")
    return htmx.back(request, job.get_absolute_url())
