"""A plan: what an install would do, on one page, and the button that does it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from gallery import plan_page
from gallery.forms import InstallForm
from gallery.models import Job, Plan
from gallery.services import plans as service
from gallery.services.errors import JobError
from gallery.services.plans import NotReady
from gallery.states import Kind
from localai_admin.lib import htmx
from team.access import requires


@requires("gallery.install_model")
@require_GET
def plan(request: HttpRequest, pk: str) -> HttpResponse:
    if htmx.wants_part(request) and _is_as_seen(pk, request.GET.get("seen", "")):
        return htmx.unchanged()
    return _page(request, _plan(pk))


@requires("gallery.install_model")
@require_POST
def confirm(request: HttpRequest, pk: str) -> HttpResponse:
    found = _plan(pk)
    _refuse_import(request, found)
    try:
        job = service.confirm(found, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except NotReady as error:
        messages.warning(request, error.in_full)
        return HttpResponseRedirect(found.get_absolute_url(), status=303)
    except JobError as error:
        return _page(request, found, refused=error.in_full, status=409)
    return HttpResponseRedirect(job.get_absolute_url(), status=303)


@requires("gallery.install_model")
@require_POST
def again(request: HttpRequest, pk: str) -> HttpResponse:
    found = _plan(pk)
    service.again(found)
    return HttpResponseRedirect(found.get_absolute_url(), status=303)


@requires("gallery.install_model")
@require_POST
def rename(request: HttpRequest, pk: str) -> HttpResponse:
    """Under another name it is another plan."""
    found = _plan(pk)
    _refuse_import(request, found)
    form = InstallForm(request.POST, entry_name=found.subject)
    if not form.is_valid():
        return _page(request, found, form=form, status=422)
    try:
        other = service.request_plan(service.renamed(found.request, form.wanted_name), request.user)  # type: ignore[arg-type]
    except JobError as error:
        form.add_error("name", error.in_full)
        return _page(request, found, form=form, status=409)
    return HttpResponseRedirect(other.get_absolute_url(), status=303)


def _plan(pk: str) -> Plan:
    """Of a plan that waits for a worker in vain, the end of waiting is written first."""
    found = get_object_or_404(Plan.objects.select_related("job"), pk=pk)
    if found.state == Plan.WORKING and found.created_at < timezone.now() - service.LOST:
        service.end_lost(timezone.now())
        found.refresh_from_db()
    return found


def _refuse_import(request: HttpRequest, plan: Plan) -> None:
    """What is in no gallery is installed by those alone who may bring it along."""
    if "described" in plan.request and not request.user.has_perm("gallery.import_model"):
        raise PermissionDenied


def _is_as_seen(pk: str, seen: str) -> bool:
    """Whether a poll would show the same. What waits too long must be looked at."""
    row = Plan.objects.filter(pk=pk).values("state", "data__step", "created_at").first()
    waits = row is not None and row["created_at"] >= timezone.now() - service.LOST
    return bool(row and waits and plan_page.mark(row["state"], row["data__step"]) == seen)


def _page(
    request: HttpRequest, found: Plan, *, form: InstallForm | None = None, refused: str = "", status: int = 200
) -> HttpResponse:
    running = found.job or Job.objects.active().filter(kind=Kind.INSTALL, subject=found.subject).first()
    context: dict[str, Any] = {
        "section": "Gallery",
        "plan": found,
        "form": form or InstallForm(initial={"name": found.subject}, entry_name=found.subject),
        "refused": refused,
        "job": running,
        "can_rename": not found.request.get("update"),
        **plan_page.context(found),
    }
    return htmx.render_partial(request, "gallery/plan.html", context, partial="plan", status=status)
