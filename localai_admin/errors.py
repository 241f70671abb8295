"""The pages for what went wrong: what happened, what to do, and an id to find it in the log."""

import logging
import secrets

from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

log = logging.getLogger(__name__)


def _page(request: HttpRequest, status: int, title: str, sentence: str) -> HttpResponse:
    request_id = secrets.token_hex(6)
    log.log(
        logging.ERROR if status >= 500 else logging.INFO,
        "%s %s answered %s [%s]",
        request.method,
        request.path,
        status,
        request_id,
    )
    context = {"heading": title, "sentence": sentence, "request_id": request_id, "status": status}
    return render(request, "errors/error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return too_large(request)
    if isinstance(exception, DisallowedHost):
        return _page(
            request,
            400,
            "The console is not known by this name",
            "Call it by one of its names, or have this one added to LOCALAI_ADMIN_HOSTS.",
        )
    return _page(request, 400, "That request made no sense", "Go back, reload the page and try again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        request, 403, "You may not do this", "Ask an administrator of this console for a role that includes it."
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(
        request,
        403,
        "This page was too old",
        "Its form no longer belongs to your session. Reload the page and try again.",
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        request,
        404,
        "There is nothing here",
        "It may have been deleted or renamed. The lists of models and jobs show what is.",
    )


def broken(request: HttpRequest) -> HttpResponse:
    return _page(
        request,
        500,
        "The console made a mistake",
        "Nothing you started is lost. Try again; the log has the details under the id below.",
    )


def too_large(request: HttpRequest) -> HttpResponse:
    return _page(request, 413, "That was too much at once", "Send less: nothing here takes more than two megabytes.")


def too_slow(request: HttpRequest) -> HttpResponse:
    return _page(
        request, 408, "What you sent did not arrive in time", "Nothing was done. Check the line and try again."
    )


def busy(request: HttpRequest) -> HttpResponse:
    response = _page(request, 429, "Too many at once", "Nothing was done. Wait a few seconds and try again.")
    response.headers["Retry-After"] = "3"
    return response
