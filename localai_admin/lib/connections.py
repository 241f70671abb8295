"""Connections that go only where they may: the check and the connection use one and the same address."""

import http.client
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from localai_admin.lib import addresses
from localai_admin.lib.deadlines import Deadlines
from localai_admin.lib.neterrors import ConnectFailed, RefusedAddress, TimedOut

#: Host and port in, addresses out, in the order to try them. Raises OSError.
Resolve = Callable[[str, int], list[str]]
Trusts = Callable[[str, int | None], bool]

_CONNECT_SECONDS = 10.0
#: Idle connections that are kept for each host.
_KEPT = 32


def resolve_by_system(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedAdapter(HTTPAdapter):
    """An adapter of requests whose connections ask `trusts` and look at the address before they connect."""

    def __init__(self, trusts: Trusts, header_seconds: float, resolve: Resolve) -> None:
        self._pools = _pools(trusts, header_seconds, resolve)
        # A proxy is the administrator's: it may be anywhere.
        self._proxy_pools = _pools(lambda _host, _port: True, header_seconds, resolve)
        super().__init__(max_retries=0, pool_maxsize=_KEPT)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._proxy_pools
        return manager


class _Guard:
    """What both kinds of connection do differently. The class attributes are set by `_pools`."""

    trusts: Trusts
    resolve: Resolve
    header_seconds: float
    deadlines: Deadlines
    host: str
    port: int
    timeout: Any
    sock: Any
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        host = self.host.strip("[]")
        trusted = self.trusts(host, self.port)
        found = self._resolved(host, trusted)
        sock = self._connected(host, found)
        sys.audit("http.client.connect", self, host, self.port)
        return sock

    def _resolved(self, host: str, trusted: bool) -> list[str]:
        try:
            found = self.resolve(host, self.port)
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"The name {host} was not found: {getattr(error, 'strerror', error)}.") from None
        # One address that is not public is enough: nobody can say which one another look would give.
        for address in [] if trusted else found:
            if not addresses.is_public(address):
                raise RefusedAddress(host, address)
        return found

    def _connected(self, host: str, found: list[str]) -> socket.socket:
        limit = self.timeout if isinstance(self.timeout, int | float) else _CONNECT_SECONDS
        deadline = time.monotonic() + limit
        why = "no address"
        for address in found:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                sock = socket.create_connection((address, self.port), timeout=left)
            except OSError as error:
                why = str(error.strerror or error)
                continue
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            return sock
        raise ConnectFailed(f"No connection to {host} within {limit:.0f} s: {why}.")

    def getresponse(self) -> Any:
        """The headers have one deadline together, however they trickle in."""
        sock = self.sock
        with self.deadlines.watch(sock) as late:
            try:
                answer = super().getresponse()  # type: ignore[misc]
            except (OSError, http.client.HTTPException):
                if not late.is_set():
                    raise
        # Headers that are cut short look like headers that are complete.
        if late.is_set():
            raise TimedOut(f"{self.host} did not answer within {self.header_seconds:.0f} s.")
        # The body is read with an eye on the socket, see reading.Body.
        answer.guarded_socket = sock
        return answer


class _Http(_Guard, HTTPConnection):
    pass


class _Https(_Guard, HTTPSConnection):
    pass


def _pools(trusts: Trusts, header_seconds: float, resolve: Resolve) -> dict[str, type[HTTPConnectionPool]]:
    """Pool classes by scheme, bound to one policy: urllib3 makes connections from classes, not from objects."""
    bound = {
        "trusts": staticmethod(trusts),
        "resolve": staticmethod(resolve),
        "header_seconds": header_seconds,
        "deadlines": Deadlines(header_seconds),
    }
    plain, secure = type("Http", (_Http,), bound), type("Https", (_Https,), bound)
    return {
        "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }
