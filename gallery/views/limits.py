"""How much installs may take: seen by those who may look at jobs, changed by those who may."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from gallery.limits_page import LimitsForm, sentence
from gallery.services import limits as service
from gallery.services import turns
from team.access import requires


@requires("gallery.view_limits")
@require_http_methods(["GET", "HEAD", "POST"])
def limits(request: HttpRequest) -> HttpResponse:
    may_change = request.user.has_perm("gallery.change_limits")
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    set_now = service.read()
    form = LimitsForm(request.POST if request.method == "POST" else None, limits=set_now, may_change=may_change)
    if form.is_bound and form.is_valid():
        service.change(request.user, **form.facts)  # type: ignore[arg-type]  # nobody else comes this far
        messages.success(request, "The limits hold from now on, for what is at work as well.")
        return HttpResponseRedirect(reverse("gallery:limits"), status=303)
    context = {
        "section": "Jobs",
        "form": form,
        "limits": set_now,
        "may_change": may_change,
        "holding": sentence(set_now, timezone.now()),
        "at_work": turns.at_work(),
        "zone": timezone.get_current_timezone_name(),
    }
    return render(request, "gallery/limits.html", context, status=422 if form.is_bound else 200)
