"""Deny by default, and end sessions that are over."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from team import sessions

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
