"""Models whose gallery offers something else by now, each with the way to the plan of its update."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from gallery.models import Revision
from gallery.services import plans
from gallery.services import updates as service
from gallery.services.errors import JobError
from localai_admin.lib import htmx
from localai_admin.lib.parameters import page_number
from team.access import requires

PAGE_SIZE = 50
_MAX_PAGE = 10_000


@requires("gallery.view_revision")
@require_GET
def updates(request: HttpRequest) -> HttpResponse:
    found = service.available()
    page = Paginator(found, PAGE_SIZE).get_page(page_number(request.GET.get("page", ""), _MAX_PAGE))
    names = [update.model for update in page]
    rows = Revision.objects.on_this_node().current().filter(name__in=names).defer("recipe")
    here = {row.name: row for row in rows}
    context = {
        "section": "Gallery",
        "rows": [(update, here.get(update.model)) for update in page],
        "place": f"Page {page.number} of {page.paginator.num_pages}",
        "total": len(found),
        "previous": f"?page={page.number - 1}" if page.has_previous() else "",
        "next": f"?page={page.number + 1}" if page.has_next() else "",
        "can_install": request.user.has_perm("gallery.install_model"),
    }
    return render(request, "gallery/updates.html", context)


@requires("gallery.install_model")
@require_POST
def update(request: HttpRequest, name: str) -> HttpResponse:
    """Leads to the plan, which shows the difference; nothing is fetched before that is confirmed."""
    found = service.of_model(name)
    if found is None:
        raise Http404(f"There is no update of {name}.")
    try:
        plan = plans.request_plan(found.request(), request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        messages.error(request, error.in_full)
        return htmx.back(request, reverse("gallery:updates"))
    return HttpResponseRedirect(plan.get_absolute_url(), status=303)
