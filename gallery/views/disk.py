"""The disk: how full it is, with what, and what can be done about it."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from gallery.disk.report import Report
from gallery.job_figures import figures
from gallery.models import Job, Revision
from gallery.services import disk as service
from gallery.services import duplicates
from gallery.states import Kind
from localai_admin.lib import htmx
from localai_admin.lib.parameters import page_number
from team.access import requires

PAGE_SIZE, MAX_PAGE = 50, 100_000
#: Seconds between two looks while duplicates are looked for.
BUSY = 2

MODELS, DOWNLOADS, UNUSED, DUPLICATES, REVISIONS = "models", "downloads", "unused", "duplicates", "revisions"
TABS = {
    MODELS: "Models",
    DOWNLOADS: "Downloads",
    UNUSED: "Unused files",
    DUPLICATES: "Duplicates",
    REVISIONS: "Earlier revisions",
}
#: How models are sorted, by the word in the address.
SORTS = {
    "size": ("Size", lambda model: (-model.use.size, model.use.name)),
    "own": ("What deleting frees", lambda model: (-model.use.own, model.use.name)),
    "used": ("Least recently used", lambda model: (model.last_used_at is not None, model.last_used_at, model.use.name)),
    "name": ("Name", lambda model: model.use.name),
}
#: What the folder is made of: the part, in words, and what is said of it.
PARTS = (
    ("own", "Models", "used by one model alone"),
    ("shared", "Shared by models", "each counted once"),
    ("unused", "Unused files", "named by nothing"),
    ("partial", "Partial downloads", ""),
    ("suspects", "Suspects", "with a wrong digest"),
    ("previous", "Earlier revisions", "for a way back"),
    ("hidden", "Hidden files", ""),
)


@requires("models.view_instance")
@require_GET
def disk(request: HttpRequest) -> HttpResponse:
    scans = list(Job.objects.active().filter(kind=Kind.SCAN).order_by("created_at"))
    mark = "-".join(f"{scan.changed_at:%H%M%S%f}" for scan in scans)
    if htmx.wants_part(request) and scans and request.GET.get("v") == mark:
        return htmx.unchanged()
    found = service.look()
    tab = request.GET.get("tab", MODELS) if request.GET.get("tab") in TABS else MODELS
    rows, extra = _TABS[tab](request, found)
    page = Paginator(rows, PAGE_SIZE).get_page(page_number(request.GET.get("page", ""), MAX_PAGE))
    context = {
        "section": "Disk",
        "tab": tab,
        "tabs": TABS,
        "space": service.space(found.parts),
        "parts": [(label, getattr(found.parts, part), note) for part, label, note in PARTS],
        "scans": [(job, figures(job, timezone.now())) for job in scans],
        "live": BUSY if scans else None,
        "page": page,
        "may_delete": request.user.has_perm("gallery.delete_model"),
        "may_discard": request.user.has_perm("gallery.control_job"),
        "previous": _address(request, page.previous_page_number()) if page.has_previous() else "",
        "next": _address(request, page.next_page_number()) if page.has_next() else "",
        "poll": f"{_address(request, page.number)}&v={mark}",
        **extra,
    }
    return htmx.render_partial(request, "gallery/disk.html", context, partial="disk")


def _address(request: HttpRequest, page: int) -> str:
    asked = {key: request.GET[key] for key in ("tab", "sort") if key in request.GET}
    return f"{reverse('gallery:disk')}?{urlencode({**asked, 'page': page})}"


def _models(request: HttpRequest, found: Report) -> tuple[Sequence[Any], dict[str, Any]]:
    sort = request.GET.get("sort", "size")
    sort = sort if sort in SORTS else "size"
    rows = sorted(service.models(found), key=SORTS[sort][1])
    return rows, {"sort": sort, "sorts": [(word, label) for word, (label, _) in SORTS.items()]}


def _downloads(_request: HttpRequest, found: Report) -> tuple[Sequence[Any], dict[str, Any]]:
    return service.partials(found), {"suspects": service.put_aside(found)}


def _unused(_request: HttpRequest, found: Report) -> tuple[Sequence[Any], dict[str, Any]]:
    rows = sorted(found.unused, key=lambda file: (-file.size, file.name))
    return rows, {"all_bytes": sum(file.freed for file in rows)}


def _duplicates(_request: HttpRequest, found: Report) -> tuple[Sequence[Any], dict[str, Any]]:
    rows = duplicates.groups(found)
    return rows, {"all_bytes": sum(group.freed for group in rows)}


def _revisions(_request: HttpRequest, _found: Report) -> tuple[Sequence[Any], dict[str, Any]]:
    rows = list(Revision.objects.on_this_node().kept().order_by("-kept_bytes", "name"))
    return rows, {"all_bytes": sum(revision.kept_bytes for revision in rows)}


_TABS = {
    MODELS: _models,
    DOWNLOADS: _downloads,
    UNUSED: _unused,
    DUPLICATES: _duplicates,
    REVISIONS: _revisions,
}
