"""Jobs: what is under way, what needs somebody, what was. And one job, followed until it has ended."""

import json
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from gallery import job_lists
from gallery.job_figures import already_here, common_folder, figures, file_figures
from gallery.job_lists import ATTENTION, CONSOLE, PROGRESS, RECORD, Asked
from gallery.models import Job
from gallery.services import jobs as service
from gallery.services.errors import JobError
from gallery.services.running import TRIES
from gallery.states import ENDED, Kind, State
from localai_admin.lib import htmx
from models import secrets
from team.access import requires

#: Seconds between two looks: while something moves, and while nothing does.
BUSY, IDLE = 2, 8
#: People offered in the filter.
PEOPLE = 200


@requires("gallery.view_job")
@require_GET
def jobs(request: HttpRequest) -> HttpResponse:
    asked, moment = Asked.read(request.GET), timezone.now()
    now = job_lists.now(moment)
    if htmx.wants_part(request) and request.GET.get("v") == now.version and not now.ticking:
        return htmx.unchanged()
    found, more = _tab(asked, moment)
    context = {
        "section": "Jobs",
        "asked": asked,
        "now": now,
        "record_count": job_lists.record_count(),
        "rows": _rows(request, found, moment),
        "previous": asked.query_string(asked.page - 1) if asked.page > 1 else "",
        "next": asked.query_string(asked.page + 1) if more else "",
        "poll": asked.query_string(asked.page, now.version),
        "seconds": BUSY if now.active else IDLE,
    }
    if asked.tab == RECORD:
        context |= _filters()
    response = htmx.render_partial(request, "gallery/jobs.html", context, partial="list")
    if htmx.wants_part(request) and "v" not in request.GET:
        # What was typed, not a poll: the address follows, so that a reload and the way back show the same.
        response.headers["HX-Replace-Url"] = reverse("gallery:jobs") + asked.query_string()
    return response


def _tab(asked: Asked, moment: datetime) -> tuple[list[Job], bool]:
    if asked.tab == PROGRESS:
        return job_lists.in_progress(moment), False
    return job_lists.needing_attention(asked.page) if asked.tab == ATTENTION else job_lists.record(asked)


def _rows(request: HttpRequest, found: list[Job], moment: datetime) -> list[dict[str, Any]]:
    places = job_lists.places(found)
    may_control = request.user.has_perm("gallery.control_job")
    return [
        {
            "job": job,
            "figures": figures(job, moment),
            "place": places.get(str(job.pk)),
            "tries": TRIES,
            "next_attempt": job.attempt + 1,
            "took": _took(job),
            "cancel_label": f"Cancel {job}",
            "retry_label": f"Retry {job}",
            "dismiss_label": f"Dismiss {job}",
            "can_cancel": may_control and job.can_cancel,
            "can_retry": may_control and job.can_retry,
            "can_dismiss": may_control and job.has_failed and not job.dismissed,
        }
        for job in found
    ]


def _took(job: Job) -> float | None:
    """Seconds from the first try to the end."""
    return (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else None


def _filters() -> dict[str, Any]:
    people = get_user_model()._default_manager.order_by("username").values_list("username", flat=True)[:PEOPLE]
    return {
        "states": sorted(state.value for state in ENDED),
        "kinds": [kind.value for kind in Kind],
        "people": [*((name, name) for name in people), (CONSOLE, "the console itself")],
    }


@requires("gallery.view_job")
@require_GET
def job(request: HttpRequest, pk: str) -> HttpResponse:
    found, moment = get_object_or_404(Job, pk=pk), timezone.now()
    numbers = figures(found, moment)
    if htmx.wants_part(request):
        seen = _moment(request.GET.get("since", ""))
        if seen and found.changed_at <= seen and not numbers.changes_with_time:
            return htmx.unchanged()
    files, events = list(found.files.all()), list(found.events.all())
    folder = common_folder([file.filename for file in files])
    context = {
        "section": "Jobs",
        "figures": numbers,
        "files": [file_figures(found, file, folder) for file in files],
        "folder": folder,
        "already_here": already_here(files),
        "events": events,
        "since": next((event.at for event in reversed(events) if event.to_state == found.state), found.changed_at),
        "request_json": json.dumps(secrets.masked(found.request), indent=2, ensure_ascii=False),
        "is_install": found.kind == Kind.INSTALL,
        "is_done": found.state == State.DONE,
        "model_name": found.subject,
        "can_load": request.user.has_perm("models.load_model"),
        **_rows(request, [found], moment)[0],
        "place": None,
    }
    return htmx.render_partial(request, "gallery/job.html", context, partial="progress")


def _moment(text: str) -> datetime | None:
    """None for anything but a moment with its time zone."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment and timezone.is_aware(moment) else None


@requires("gallery.control_job")
@require_POST
def cancel(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    if not service.request_cancel(found, request.user):  # type: ignore[arg-type]  # nobody else comes this far
        messages.error(request, f"It is too late to cancel: {found.subject} is {found.state}.")
    return htmx.back(request, found.get_absolute_url())


@requires("gallery.control_job")
@require_POST
def retry(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    try:
        if not service.retry(found, request.user):  # type: ignore[arg-type]  # nobody else comes this far
            messages.error(request, f"There is nothing to retry: {found.subject} is {found.state}.")
    except JobError as error:
        messages.error(request, error.in_full)
    return htmx.back(request, found.get_absolute_url())


@requires("gallery.control_job")
@require_POST
def dismiss(request: HttpRequest, pk: str) -> HttpResponse:
    found = get_object_or_404(Job, pk=pk)
    if not service.dismiss(found, request.user):  # type: ignore[arg-type]  # nobody else comes this far
        messages.error(request, f"There is nothing to dismiss: {found.subject} is {found.state}.")
    return htmx.back(request, found.get_absolute_url())
