"""The end of a backend's log: live inside the page, as plain text by its own address."""

from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from localai_admin.lib import htmx
from localai_admin.lib.freshness import mark
from models.models import Instance
from models.runtime import logs
from monitor.views.subject import Subject, find
from team.access import requires

LINES = 200
#: The plain text page shows more. Lines, bytes.
PLAIN_LINES, PLAIN_BYTES = 5000, 2 << 20


class Run(NamedTuple):
    """A run whose log is kept."""

    key: str
    label: str
    path: Path


@requires("models.view_log")
@require_GET
def log(request: HttpRequest, name: str) -> HttpResponse:
    subject = find(name)
    chosen = request.GET.get("run", "")
    if not request.htmx:  # type: ignore[attr-defined]
        return _plain(_chosen(runs(name), chosen))
    context = log_context(subject, chosen)
    if request.GET.get("since") == context["log_mark"]:
        return htmx.unchanged()
    return render(request, "monitor/log.html", context)


def log_context(subject: Subject, chosen: str = "") -> dict[str, Any]:
    """What monitor/log.html needs. It asks again by itself while the process may still write."""
    kept = runs(subject.name)
    run = _chosen(kept, chosen)
    live = run.key == "" and _may_write(subject.instance)
    return {
        "name": subject.name,
        "runs": [other for other in kept if other.key == "" or other.path.exists()],
        "run": run,
        "lines": logs.tail(run.path, LINES),
        "log_live": live,
        "log_mark": mark(run.key, live, *_signature(run.path)),
    }


def runs(name: str) -> list[Run]:
    path = logs.log_path(settings.LOGS_PATH, name)
    return [
        Run("", "Latest run", path),
        Run("previous", "Run before", logs.previous_path(path)),
        Run("first-failure", "First failure", logs.first_failure_path(path)),
    ]


def _chosen(kept: list[Run], key: str) -> Run:
    return next((run for run in kept if run.key == key), kept[0])


def _may_write(instance: Instance | None) -> bool:
    return instance is not None and (instance.is_ready or instance.is_moving)


def _signature(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _plain(run: Run) -> HttpResponse:
    text = "\n".join(logs.tail(run.path, PLAIN_LINES, PLAIN_BYTES))
    return HttpResponse(f"{text}\n" if text else "", content_type="text/plain; charset=utf-8")
