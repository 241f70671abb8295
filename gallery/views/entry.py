"""One entry of a gallery: what it is, what would be fetched, what it would set, and the way to its plan."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET, require_http_methods

from gallery import entry_facts, markdown
from gallery.forms import InstallForm
from gallery.installed import entries_here
from gallery.models import Entry, Job
from gallery.services import installs, plans, updates
from gallery.services.errors import JobError
from gallery.states import Kind
from gallery.views.index import labels
from localai_admin.lib import htmx
from team.access import requires


@requires("gallery.view_entry")
@require_GET
def entry(request: HttpRequest, gallery: str, name: str) -> HttpResponse:
    found = _entry(gallery, name)
    if htmx.wants_part(request):
        return htmx.render_partial(request, "gallery/entry.html", _standing(found), partial="standing")
    return _page(request, found, InstallForm(entry_name=found.name))


@requires("gallery.install_model")
@require_http_methods(["GET", "POST"])
def install(request: HttpRequest, gallery: str, name: str) -> HttpResponse:
    """Leads to the plan of the install. The address of a form that was refused leads to the entry when asked for."""
    found = _entry(gallery, name)
    if request.method == "GET":
        return redirect(found)
    form = InstallForm(request.POST, entry_name=found.name)
    if not form.is_valid():
        return _page(request, found, form, status=422)
    try:
        plan = plans.request_plan(installs.wish_for(found, form.wanted_name), request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        return _refused(request, found, form, error.in_full)
    return HttpResponseRedirect(plan.get_absolute_url(), status=303)


def _refused(request: HttpRequest, found: Entry, form: InstallForm, sentence: str) -> HttpResponse:
    """From the entry's page: beside the field. From a card, which has no field: above the cards."""
    if "name" in request.POST:
        form.add_error("name", sentence)
        return _page(request, found, form, status=409)
    messages.error(request, sentence)
    return htmx.back(request, found.get_absolute_url())


def _entry(gallery: str, name: str) -> Entry:
    shown = Entry.objects.shown().select_related("gallery")
    return get_object_or_404(shown, gallery__name=gallery, name=name)


def _page(request: HttpRequest, found: Entry, form: InstallForm, status: int = 200) -> HttpResponse:
    facts = entry_facts.facts(found)
    context = {
        "section": "Gallery",
        "form": form,
        "facts": facts,
        "labels": labels(found),
        "variants": _variants(found, facts.variants),
        "description": mark_safe(markdown.to_html(facts.description)),  # noqa: S308 - sanitised by nh3
        "icon": found.icon if settings.GALLERY_ICONS and found.icon.startswith("https://") else "",
        "can_install": request.user.has_perm("gallery.install_model"),
        **_standing(found),
    }
    return htmx.render_partial(request, "gallery/entry.html", context, partial="content", status=status)


def _standing(found: Entry) -> dict[str, Any]:
    """Whether it is on this host, or on its way: the part of the page that is asked for again."""
    return {
        "entry": found,
        "installed": entries_here().models_of(found.gallery.name, found.name),
        "updates": [update.model for update in updates.of_entry(found.gallery.name, found.name)],
        "job": Job.objects.active().filter(kind=Kind.INSTALL, subject=found.name).first(),
    }


def _variants(found: Entry, names: list[str]) -> list[dict[str, Any]]:
    """Other builds of the model, side by side; one that the gallery names but does not have comes without its entry."""
    if not names:
        return []
    known = found.gallery.entries.filter(name__in=names).defer("search")
    by_name = {entry.name: entry for entry in known}
    for entry in by_name.values():
        entry.gallery = found.gallery
    return [
        {
            "name": name,
            "entry": by_name.get(name),
            "facts": entry_facts.facts(by_name[name]) if name in by_name else None,
        }
        for name in names
    ]
