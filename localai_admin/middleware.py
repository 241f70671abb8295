"""Middleware of the whole site: how long an answer took, and what a browser may do with it."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from localai_admin import telemetry

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def observe_duration(get_response: GetResponse) -> GetResponse:
    """Record the duration of every call in the histogram `api_call`, labelled by route pattern, never by raw path."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match
        if match is None or match.url_name != "metrics":
            route = match.route if match else telemetry.NO_ROUTE
            telemetry.observe_api_call(request.method or "", route, response.status_code, time.perf_counter() - started)
        return response

    return middleware


def security_headers(get_response: GetResponse) -> GetResponse:
    """Scripts and styles from this host only, nothing inline; icons of a gallery from where they are, when allowed."""
    images = "'self' data: https:" if settings.GALLERY_ICONS else "'self' data:"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
        f"img-src {images}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("X-Frame-Options", "DENY")
        # Static files say for how long they may be kept; a page is for one person, now.
        response.headers.setdefault("Cache-Control", "no-store, private")
        return response

    return middleware
