"""HTMX plumbing, once: which part of a page to answer with, and where to go after a post."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme


def render_partial(
    request: HttpRequest, template: str, context: dict[str, Any], *, partial: str, status: int = 200
) -> HttpResponse:
    """The named partial of the template for a request that wants a part, the whole page for any other."""
    name = f"{template}#{partial}" if wants_part(request) else template
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ("HX-Request", "HX-Boosted"))
    return response


def wants_part(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of the page. A boosted form asks for the whole, and takes from it what it needs."""
    htmx = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.boosted


def unchanged() -> HttpResponse:
    """The answer for a poll that would show the same: nothing is swapped."""
    return HttpResponse(status=204)


def page_of_ours(request: HttpRequest) -> str:
    """Path and query of the page a request came from; empty when that is not one of this console's."""
    origin = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(origin, {request.get_host()}, require_https=request.is_secure()):
        return ""
    parts = urlsplit(origin)
    # Two slashes, or a slash and a backslash, would begin the name of another host.
    return urlunsplit(("", "", "/" + parts.path.lstrip("/\\"), parts.query, "")) if parts.netloc else ""


def back(request: HttpRequest, default: str) -> HttpResponse:
    """After a post: 303 to the page it came from when that is one of ours, else to the default, a path."""
    return HttpResponseRedirect(page_of_ours(request) or default, status=303)
