"""For those who watch the console from outside: is it up, is it ready, what does it measure."""

import ipaddress

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from localai_admin import telemetry
from team.access import public

_SET_BY_PROXIES = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")


@public
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The web process answers."""
    return HttpResponse("OK", content_type="text/plain")


@public
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """The web process answers and so does the database; 503 with the reason otherwise."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
    except DatabaseError:
        return JsonResponse({"status": "starting", "reason": "the database does not answer"}, status=503)
    return JsonResponse({"status": "ready"})


@public
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for the networks of LOCALAI_ADMIN_METRICS_NETWORKS and signed-in superusers."""
    if not settings.METRICS_ENABLED:
        raise Http404
    if not (_comes_from_allowed_network(request) or request.user.is_superuser):
        raise PermissionDenied
    return HttpResponse(telemetry.scrape(), content_type=CONTENT_TYPE_LATEST)


def _comes_from_allowed_network(request: HttpRequest) -> bool:
    # Behind a proxy every call comes from the proxy: only the name it passes on would tell, and that can be forged.
    if any(name in request.headers for name in _SET_BY_PROXIES):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in network for network in settings.METRICS_NETWORKS)
