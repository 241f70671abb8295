"""What a view asks of the person who calls it. Every view says it; one that says nothing is refused to everybody."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django_htmx.http import HttpResponseClientRedirect

from localai_admin.lib.htmx import page_of_ours

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
PUBLIC = "public"
SIGNED_IN = "signed in"


def requires(permission: str) -> Callable[[View], View]:
    """Let those through who hold the Django permission `app.codename`; others get 403, or the sign-in page first."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return to_sign_in(request)
            if permission != SIGNED_IN and not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        checked.access = permission  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorate


def public(view: View) -> View:
    """Anybody may call this view, signed in or not."""
    view.access = PUBLIC  # type: ignore[attr-defined]
    return view


#: Whoever is signed in may call this view.
signed_in = requires(SIGNED_IN)


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send a person to the sign-in page and back; a fragment's request moves the whole page."""
    if getattr(request, "htmx", None):
        answer = redirect_to_login(page_of_ours(request) or "/")
        return HttpResponseClientRedirect(answer.url)
    return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
