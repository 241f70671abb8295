"""How often somebody may try to sign in, and who that is: by name, by address, and by both."""

import ipaddress
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_cool_off
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

_NETWORK_BITS = 64


class SignInHandler(AxesDatabaseHandler):
    """Counts against settings.SIGN_IN_LIMITS, in the order of AXES_LOCKOUT_PARAMETERS.

    The library knows one limit: each count is brought to the scale of that one.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        of_both, of_address, of_name = (
            attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        )
        if _is_this_machine(client_address(request)):
            # A proxy that does not say for whom it calls: everybody would be locked out for one.
            of_address = 0
        counted = zip((of_both, of_address, of_name), settings.SIGN_IN_LIMITS, strict=True)
        return max(count * settings.AXES_FAILURE_LIMIT // limit for count, limit in counted)


def client_address(request: HttpRequest) -> str:
    """Who calls. Behind a proxy, the address that the proxy itself has written last.

    Of IPv6 it is the network: whoever has one address of it has all the others, too. Fit for a key, not for a page.
    """
    direct = str(request.META.get("REMOTE_ADDR") or "")
    passed_on = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() if settings.BEHIND_TLS else ""
    return _network(passed_on) or _network(direct) or "0.0.0.0"  # noqa: S104 - a key for whoever has no address


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """The page for somebody who tried too often, whoever that is and whether the last try was right."""
    pause = get_cool_off(request)
    seconds = round(pause.total_seconds()) if pause else 0
    response = render(request, "errors/429.html", status=429)
    response.headers["Retry-After"] = str(seconds)
    return response


def _is_this_machine(address: str) -> bool:
    """Also when it is the network of ::1."""
    return ipaddress.ip_address(address).is_loopback or address == "::"


def _network(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _NETWORK_BITS), strict=False).network_address)
