"""Jobs: what is under way, what needs somebody, what was. And one job, followed until it has ended."""

import json
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from gallery import job_lists, limits_page
from gallery.job_figures import already_here, common_folder, figures, file_figures, most_telling
from gallery.job_lists import ATTENTION, CONSOLE, PROGRESS, RECORD, Asked
from gallery.job_rows import Line, row_of
from gallery.models import Job, Limits
from gallery.services import limits as limits_service
from gallery.services import turns
from gallery.states import ENDED, Kind, State
from localai_admin.lib import htmx
from localai_admin.lib.polling import SEEN, has_seen, pace, version_of, versioned
from models import secrets
from team.access import requires

#: Seconds between two looks: while something moves, and while nothing does.
BUSY, IDLE = 2, 8
#: Files of a job that are shown until all are asked for, and seconds between two looks at more than these.
FILES_SHOWN, MANY_FILES_PACE = 24, 5
#: The newest of what happened; the rest is in the admin's history.
EVENTS_SHOWN = 100
#: People offered in the filter.
PEOPLE = 200


@requires("gallery.view_job")
@require_GET
def jobs(request: HttpRequest) -> HttpResponse:
    asked, moment = Asked.read(request.GET), timezone.now()
    now = job_lists.now()
    limits = limits_service.read() if asked.tab == PROGRESS else Limits()
    holding = limits_page.sentence(limits, moment)
    found, more = _tab(asked, moment)
    line = Line(job_lists.places(found), now.at_work, limits.at_once)
    version = version_of(asked, now, line, holding, more, *(_marks(job, moment) for job in found))
    if has_seen(request, version):
        return versioned(htmx.unchanged(), version)
    may_control = request.user.has_perm("gallery.control_job")
    context = {
        "section": "Jobs",
        "asked": asked,
        "now": now,
        "record_count": job_lists.record_count(),
        "rows": [row_of(job, moment, line, may_control) for job in found],
        "previous": asked.query_string(asked.page - 1) if asked.page > 1 else "",
        "next": asked.query_string(asked.page + 1) if more else "",
        "poll": asked.query_string(asked.page, version),
        "seconds": pace(request, BUSY if now.active else IDLE),
        "may_control": may_control,
        "holding": holding,
    }
    if asked.tab == RECORD:
        context |= _filters()
    if SEEN in request.GET:
        return versioned(_part(request, "gallery/jobs.html", context, "list"), version)
    response = htmx.render_partial(request, "gallery/jobs.html", context, partial="list")
    if htmx.wants_part(request):
        # What was typed, not a poll: the address follows, so that a reload and the way back show the same.
        response.headers["HX-Replace-Url"] = reverse("gallery:jobs") + asked.query_string()
    return response


def _marks(job: Job, moment: datetime) -> tuple[object, ...]:
    """A job that looks different as time goes by, such as one that waits for its next try, has the second in it."""
    ticks = figures(job, moment).changes_with_time
    return (*job_lists.marks(job), int(moment.timestamp()) if ticks else None)


def _part(request: HttpRequest, template: str, context: dict[str, Any], partial: str) -> HttpResponse:
    """What a page asked for by itself. The token of its forms is left out: scripts send it in a header."""
    return htmx.render_partial(request, template, context | {"csrf_token": ""}, partial=partial)


def _tab(asked: Asked, moment: datetime) -> tuple[list[Job], bool]:
    if asked.tab == PROGRESS:
        return job_lists.in_progress(moment), False
    return job_lists.needing_attention(asked.page) if asked.tab == ATTENTION else job_lists.record(asked)


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
    line = _line_of(found)
    version = version_of(_marks(found, moment), line)
    if has_seen(request, version):
        return versioned(htmx.unchanged(), version)
    context = {
        "section": "Jobs",
        **row_of(found, moment, line, request.user.has_perm("gallery.control_job")),
        **_files(found, shows_all="files" in request.GET),
        **_events(found),
        "request_json": json.dumps(secrets.masked(found.request), indent=2, ensure_ascii=False),
        "is_install": found.kind == Kind.INSTALL,
        "is_done": found.state == State.DONE,
        "model_name": found.subject,
        "can_load": request.user.has_perm("models.load_model"),
        "version": version,
    }
    context["seconds"] = pace(request, MANY_FILES_PACE if context["file_count"] > FILES_SHOWN else BUSY)
    if SEEN in request.GET:
        return versioned(_part(request, "gallery/job.html", context, "progress"), version)
    return htmx.render_partial(request, "gallery/job.html", context, partial="progress")


def _line_of(job: Job) -> Line:
    """The queue as far as the job's page tells of it: nothing when it does not stand in it."""
    if not job.can_be_moved:
        return Line({}, 0, 0)
    places = {str(pk): place for place, pk in enumerate(Job.objects.in_line().values_list("pk", flat=True), start=1)}
    return Line(places, turns.at_work(), limits_service.read().at_once)


def _files(job: Job, shows_all: bool) -> dict[str, Any]:
    """The files of a job. Of many, those that something happens to, and how many there are of the others."""
    files = list(job.files.all())
    folder = common_folder([file.filename for file in files])
    rows = [file_figures(job, file, folder) for file in files]
    shown = rows if shows_all or len(rows) <= FILES_SHOWN else most_telling(rows, FILES_SHOWN)
    return {
        "files": shown,
        "file_count": len(files),
        "whole_count": sum(row.whole for row in rows),
        "shows_all": shows_all,
        "more_files": len(rows) - len(shown),
        "folder": folder,
        "already_here": already_here(files),
    }


def _events(job: Job) -> dict[str, Any]:
    events = list(job.events.order_by("-at", "-pk")[: EVENTS_SHOWN + 1])
    here = next((event.at for event in events if event.to_state == job.state), job.changed_at)
    return {"events": events[:EVENTS_SHOWN][::-1], "earlier_events": len(events) > EVENTS_SHOWN, "since": here}
