"""Deny by default, end sessions that are over, and answer pages that ask again in the cheapest way."""

from collections.abc import Callable, Hashable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from localai_admin.lib.polling import SEEN, Polls
from team import sessions
from team.passes import Passes

#: The admin site asks for permissions itself, in every one of its views.
_ADMIN = "admin"


class deny_by_default:
    """Refuse every view that does not say who may call it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        match = request.resolver_match
        if getattr(view, "access", None) or (match and match.app_names == [_ADMIN]):
            return
        raise PermissionDenied


class end_sessions:
    """Sign out whoever was idle for too long, or signed in for too long."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.user.is_authenticated:
            if sessions.is_over(request):
                logout(request)
            else:
                sessions.touch(request)
        return self.get_response(request)


class share_polls:
    """Give pages that ask again one answer together, when they may see the same.

    Only views that called their answer versioned are shared, and only with those who hold exactly the permissions that
    it was made for. Everybody else, and whatever is not known or not fresh, goes all the way to the view.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.passes, self.polls = Passes(), Polls()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.polls = self.polls  # type: ignore[attr-defined]  # asked for the pace of a page
        if request.method not in ("GET", "HEAD"):
            response = self.get_response(request)
            self.polls.forget()
            return response
        if not self._is_poll(request):
            return self.get_response(request)
        session = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        request.get_host()
        known = self.passes.of(session)
        if known is None:
            response = self.get_response(request)
            if hasattr(response, "shared_version"):
                self.passes.remember(request)
                self.polls.note((session, request.path))
            return response
        # Only pages of people who are signed in count: else a stranger could make everybody's ask less often.
        self.polls.note((session, request.path))
        return self._shared(request, (request.path, self._question(request), known.permissions))

    def _shared(self, request: HttpRequest, key: Hashable) -> HttpResponseBase:
        if (answer := self._kept(request, key)) is not None:
            return answer
        with self.polls.alone(key) as asked_at:
            if (answer := self._kept(request, key)) is not None:
                return answer
            response = self.get_response(request)
            if isinstance(response, HttpResponse) and not response.has_header("Content-Encoding"):
                self.polls.keep(key, response, asked_at, request.resolver_match)
            return response

    def _kept(self, request: HttpRequest, key: Hashable) -> HttpResponse | None:
        answer = self.polls.get(key)
        if answer is None:
            return None
        request.resolver_match = answer.match
        return answer.response(request.GET.get(SEEN, ""), "gzip" in request.headers.get("Accept-Encoding", ""))

    @staticmethod
    def _is_poll(request: HttpRequest) -> bool:
        is_htmx = request.headers.get("HX-Request") == "true" and "HX-Boosted" not in request.headers
        return is_htmx and SEEN in request.GET

    @staticmethod
    def _question(request: HttpRequest) -> Hashable:
        return tuple((name, tuple(values)) for name, values in request.GET.lists() if name != SEEN)
