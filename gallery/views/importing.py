"""Bringing a model here that is in no gallery: each way ends in a plan; a list ends in jobs."""

from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from gallery import repository_page
from gallery.catalog.errors import CatalogError
from gallery.downloads.errors import DownloadError
from gallery.hub.errors import HubError
from gallery.hub.listing import Repository
from gallery.hub.references import Reference
from gallery.import_forms import AddressForm, ChoiceForm, ListForm, NamedForm, PathForm, TextForm
from gallery.services import applying, hub, importing, outside, plans, server_paths
from gallery.services.errors import JobError, NameTaken
from team.access import requires

#: (URL name, label)
WAYS = (
    ("gallery:import", "Address"),
    ("gallery:import_text", "YAML or JSON"),
    ("gallery:import_repository", "Hugging Face"),
    ("gallery:import_path", "Path on the server"),
    ("gallery:import_list", "List"),
)
#: Together, for items of a list that come without a name. Seconds.
NAMES = 10.0


@requires("gallery.import_model")
@require_http_methods(["GET", "HEAD", "POST"])
def address(request: HttpRequest) -> HttpResponse:
    form = AddressForm(request.POST or None, initial={"address": request.GET.get("address", "")[:2000]})
    if form.is_valid():
        data = form.cleaned_data
        if plan := _planned(request, form, "address", lambda: importing.of_address(data["address"], form.chosen_name)):
            return plan
    return _page(request, "address", form)


@requires("gallery.import_model")
@require_http_methods(["GET", "HEAD", "POST"])
def text(request: HttpRequest) -> HttpResponse:
    form = TextForm(request.POST or None)
    if form.is_valid():
        written = form.cleaned_data["text"]
        if plan := _planned(request, form, "text", lambda: importing.of_text(written, form.chosen_name)):
            return plan
    return _page(request, "text", form)


@requires("gallery.import_model")
@require_http_methods(["GET", "HEAD", "POST"])
def server_path(request: HttpRequest) -> HttpResponse:
    form = PathForm(request.POST or None, initial={"path": request.GET.get("path", "")[:4000]})
    if form.is_valid():
        data = form.cleaned_data
        if plan := _planned(
            request,
            form,
            "path",
            lambda: server_paths.request_for(data["path"], form.chosen_name, data["usecase"], data["context_size"]),
        ):
            return plan
    return _page(request, "path", form, roots=server_paths.roots(), loose=server_paths.loose())


@requires("gallery.import_model")
@require_http_methods(["GET", "HEAD", "POST"])
def repository(request: HttpRequest) -> HttpResponse:
    """The repository is asked for by its address in the browser, so that it can be kept and passed on."""
    asked = request.GET.get("repo", "")[:2000]
    context: dict[str, Any] = {"asked": asked}
    if not asked.strip():
        return _page(request, "repository", None, **context)
    try:
        reference = hub.reference(asked)
        found = hub.repository(reference)
    except HubError as error:
        return _page(request, "repository", None, status=422, problem=f"{error} {error.action}".strip(), **context)
    return _choose(request, reference, found, context)


def _choose(request: HttpRequest, reference: Reference, found: Repository, context: dict[str, Any]) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:200]
    if request.method != "POST":
        context |= repository_page.context(found, reference, query)
        initial = {"usecase": context["usecase"], "context_size": context["context_size"]}
        return _page(request, "repository", ChoiceForm(initial=initial), **context)
    form = ChoiceForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        if plan := _planned(request, form, "choice", lambda: repository_page.request_for(found, data)):
            return plan
    return _page(
        request, "repository", form, **context, **repository_page.context(found, reference, query, request.POST)
    )


@requires("gallery.install_model")
@requires("gallery.import_model")
@require_http_methods(["GET", "HEAD", "POST"])
def listed(request: HttpRequest) -> HttpResponse:
    """Its items may be a gallery's, and are installed at once."""
    form = ListForm(request.POST or None, request.FILES or None)
    if not form.is_valid():
        return _page(request, "list", form)
    try:
        outcomes = applying.apply_from_string(form.content, request.user, NAMES)  # type: ignore[arg-type]  # nobody else comes this far
    except applying.ListRefused as error:
        form.refuse("file" if isinstance(form.cleaned_data["file"], UploadedFile) else "text", error)
        return _page(request, "list", form)
    refused = sum(outcome.is_refused for outcome in outcomes)
    return _page(request, "list", form, status=200, outcomes=outcomes, refused=refused, is_applied=True)


def _planned(
    request: HttpRequest, form: NamedForm, field: str, make: Callable[[], importing.Request]
) -> HttpResponse | None:
    """To the plan; None with the reason in the form when there can be none."""
    try:
        plan = plans.request_plan(make(), request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except NameTaken as error:
        form.refuse("name", error)
        return None
    except (CatalogError, DownloadError, JobError) as error:
        form.refuse(field, error)
        return None
    return HttpResponseRedirect(plan.get_absolute_url(), status=303)


def _page(request: HttpRequest, way: str, form: Any, status: int | None = None, **context: Any) -> HttpResponse:
    wrong = form is not None and form.is_bound and bool(form.errors)
    if wrong:
        form.mark()
    status = status or (422 if wrong else 200)
    context |= {"section": "Gallery", "ways": WAYS, "way": way, "form": form, "seconds": int(outside.SECONDS)}
    return render(request, f"gallery/import_{way}.html", context, status=status)
