"""HTMX plumbing, once: which part of a page to answer with, and where to go after a post."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme

#: htmx stops polling when it gets this.
STOP_POLLING = 286


def render_partial(
    request: HttpRequest, template: str, context: dict[str, Any], *, partial: str, status: int = 200
) -> HttpResponse:
    """The named partial of the template for an htmx request, the whole page for any other.

    A boosted form asks for the whole page and takes from it what it needs.
    """
    htmx = getattr(request, "htmx", None)
    name = f"{template}#{partial}" if htmx and not htmx.boosted else template
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ("HX-Request", "HX-Boosted"))
    return response


def unchanged() -> HttpResponse:
    """The answer for a poll that would show the same: nothing is swapped."""
    return HttpResponse(status=204)


def back(request: HttpRequest, default: str) -> HttpResponse:
    """After a post: 303 to the page it came from when that is one of ours, else to the default."""
    origin = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(origin, {request.get_host()}, require_https=request.is_secure()):
        origin = default
    response = redirect(origin)
    response.status_code = 303
    return response
