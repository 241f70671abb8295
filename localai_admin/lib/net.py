"""HTTP to hosts that somebody else named: only to public addresses, only with TLS, and never for longer than allowed.

The address is checked where the connection is made, at every hop of a redirect, and the connection goes to the very
address that was checked. When the environment names a proxy (HTTPS_PROXY), TLS connections go through it: names are
then resolved by the proxy, and which addresses may be reached is the proxy's to decide; trusted hosts stay direct.
Nothing else is taken from the environment but the file of certificates (REQUESTS_CA_BUNDLE, SSL_CERT_FILE).
"""

import contextlib
import http.client
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from localai_admin.lib import addresses
from localai_admin.lib.connections import GuardedAdapter, Resolve, resolve_by_system
from localai_admin.lib.neterrors import (
    BadAnswer,
    ConnectFailed,
    NetError,
    RefusedAddress,
    RefusedUrl,
    TimedOut,
    TooLarge,
    TooManyRedirects,
)
from localai_admin.lib.plain import without_passwords
from localai_admin.lib.reading import Body, byte_count

__all__ = [
    "BadAnswer", "Client", "ConnectFailed", "NetError", "Policy", "RefusedAddress", "RefusedUrl", "Response",
    "TimedOut", "Timeouts", "TooLarge", "TooManyRedirects", "origin_of", "shown",
]  # fmt: skip

MAX_REDIRECTS = 10
_REDIRECTS = {301, 302, 303, 307, 308}
_SHORT_TEXT, _SHORT_SECONDS = 4 << 10, 1.0
_PORTS = {"http": 80, "https": 443}
_UNKNOWN_CERTIFICATE = (
    "Check the clock of this machine and the certificate of that one. One of an authority of your own is "
    "accepted when REQUESTS_CA_BUNDLE names its file."
)

Origin = tuple[str | None, str | None, int | None]


def _proxy_of_environment() -> str:
    return os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or ""


@dataclass(frozen=True)
class Policy:
    """Where the console may connect to. A trusted host is `host` or `host:port`; it may be private, and without TLS."""

    allow_http: bool = False
    trusted_hosts: Iterable[str] = ()
    user_agent: str = "localai-admin"
    proxy: str = field(default_factory=_proxy_of_environment)

    def trusts(self, host: str, port: int | None) -> bool:
        host = host.strip("[]").rstrip(".").lower()
        bracketed = f"[{host}]" if ":" in host else host
        wanted = {host, bracketed, f"{bracketed}:{port}"}
        return any(trusted.strip().rstrip(".").lower() in wanted for trusted in self.trusted_hosts)


@dataclass(frozen=True)
class Timeouts:
    """Seconds: until connected, until the headers are there, and without data in the body, or next to none."""

    connect: float = 10.0
    header: float = 30.0
    stall: float = 60.0


class Response:
    """The last answer of a chain of redirects. Use as a context manager, or close it."""

    def __init__(self, answer: requests.Response, url: str, stall: float) -> None:
        self._answer = answer
        self.status: int = answer.status_code
        self.headers: Mapping[str, str] = answer.headers
        self.url = url
        self._body = Body(answer.raw, shown(url), stall)

    def chunks(self) -> Iterator[bytes]:
        """The body as sent, in pieces of at most 1 MiB; an empty piece after each second without data.

        Raises Stalled when nothing has come for the stall limit, BrokenOff when the connection breaks. A body that is
        shorter than its Content-Length simply ends: who knows the length compares it.
        """
        return self._body.chunks()

    def receive(self, view: memoryview) -> int | None:
        """What comes next of the body as sent, put into `view`; see Body.receive."""
        return self._body.receive(view)

    def read(self, limit: int, seconds: float = 120.0) -> bytes:
        """The whole body. Raises TooLarge above `limit` bytes, TimedOut after `seconds`, BadAnswer when encoded."""
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"", "identity"}:
            raise BadAnswer(f"{shown(self.url)} answered with a {encoding[:20]} encoding that was not asked for.")
        return self._body.read(limit, seconds, byte_count(self.headers.get("Content-Length", "")))

    def close(self) -> None:
        """The connection is kept for the next request when the whole body was read, or when there is none."""
        if self._answer.request.method == "HEAD":
            self._answer.raw.drain_conn()
        self._answer.close()

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """Connections under one policy. May be used by several threads.

    A connection is used again for the host it was made for, until the client is closed: where it leads was looked at
    when it was made, and what a request carries is decided for each. Redirects are followed here: a session
    of the library would read the whole body of one first, however long it is and however slowly it comes.
    """

    def __init__(self, policy: Policy, timeouts: Timeouts = Timeouts(), resolve: Resolve = resolve_by_system) -> None:
        self.policy = policy
        self.timeouts = timeouts
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
        self._adapter = GuardedAdapter(policy.trusts, timeouts.header, resolve)

    def open(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Response:
        """Ask, follow redirects, and return the answer with its body unread, whatever its status. Raises NetError.

        `credentials` are headers for the host of `url` alone: they are dropped at a redirect to another. After
        `seconds` no further redirect is followed.
        """
        end = None if seconds is None else time.monotonic() + seconds
        home = current = self._checked(url)
        seen = {current.url}
        for _ in range(MAX_REDIRECTS + 1):
            secret = credentials if _origin(current) == _origin(home) else None
            answer = self._send(method, current, {**(headers or {}), **(secret or {})})
            target = answer.headers.get("Location") if answer.status_code in _REDIRECTS else None
            if not target:
                return Response(answer, current.url, self.timeouts.stall)
            _leave(answer)
            current = self._next(current, target)
            if current.url in seen:
                raise TooManyRedirects(f"{shown(url)} redirects in a circle.")
            seen.add(current.url)
            if end is not None and time.monotonic() >= end:
                raise TimedOut(f"{shown(url)} redirects on and on, and did not answer within {seconds:.0f} s.")
        raise TooManyRedirects(f"{shown(url)} redirects more than {MAX_REDIRECTS} times.")

    def check(self, url: str) -> None:
        """Raise RefusedUrl or RefusedAddress for what can be refused without asking any other machine."""
        parsed = self._checked(url)
        address = addresses.literal((parsed.host or "").strip("[]"))
        allowed = self._trusts(parsed) or (self.policy.proxy and parsed.scheme == "https")
        if address and not allowed and not addresses.is_public(address):
            raise RefusedAddress(parsed.host or "", address)

    def close(self) -> None:
        self._adapter.close()

    def _next(self, current: Url, target: str) -> Url:
        following = self._checked(urljoin(current.url, target).split("#")[0])
        if current.scheme == "https" and following.scheme == "http" and not self._trusts(following):
            raise RefusedUrl(f"{shown(current.url)} redirects to {shown(following.url)}, which is without TLS.")
        return following

    def _checked(self, url: str) -> Url:
        """The URL as the connection will see it. Raises RefusedUrl, or RefusedAddress for a local name."""
        try:
            prepared = requests.PreparedRequest()
            prepared.prepare_url(url, None)
            parsed = parse_url(prepared.url or "")
        except (requests.RequestException, LocationParseError, UnicodeError, ValueError):
            raise RefusedUrl(f"{shown(url)} is no address of the web.") from None
        if parsed.scheme not in _PORTS or not parsed.host:
            raise RefusedUrl(f"{shown(url)} is not an https address.")
        if not self._trusts(parsed):
            if parsed.scheme == "http" and not self.policy.allow_http:
                raise RefusedUrl(f"{shown(url)} is without TLS.")
            if addresses.is_local_name(parsed.host):
                raise RefusedAddress(parsed.host, parsed.host)
        return parsed

    def _trusts(self, url: Url) -> bool:
        return self.policy.trusts(url.host or "", url.port or _PORTS.get(url.scheme or ""))

    def _send(self, method: str, url: Url, headers: Mapping[str, str]) -> requests.Response:
        usual, always = {"Accept": "*/*", "User-Agent": self.policy.user_agent}, {"Accept-Encoding": "identity"}
        prepared = requests.Request(method, url.url, headers={**usual, **headers, **always}).prepare()
        try:
            try:
                return self._sent(prepared, url)
            except requests.ConnectionError as error:
                # A server may close a connection just when it is used once more.
                if not isinstance(_innermost(error), http.client.RemoteDisconnected | ConnectionError):
                    raise
                return self._sent(prepared, url)
        except requests.exceptions.SSLError as error:
            why = f"The certificate of {url.host} was not accepted: {_why(error)}."
            raise ConnectFailed(why, retry=False, action=_UNKNOWN_CERTIFICATE) from None
        except requests.exceptions.Timeout:
            raise TimedOut(f"{url.host} did not answer within {self.timeouts.header:.0f} s.") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ConnectFailed(f"The connection to {url.host} failed: {_why(error)}.") from None

    def _sent(self, request: requests.PreparedRequest, url: Url) -> requests.Response:
        timeout = (self.timeouts.connect, self.timeouts.header)
        return self._adapter.send(
            request, stream=True, timeout=timeout, verify=self._verify, proxies=self._proxies(url)
        )

    def _proxies(self, url: Url) -> dict[str, str]:
        return {"https": self.policy.proxy} if self.policy.proxy and not self._trusts(url) else {}


def _leave(answer: requests.Response) -> None:
    """A redirect has been read; a short text with it is read, too, so that the connection can be used again."""
    length = byte_count(answer.headers.get("Content-Length", ""))
    if length is not None and length <= _SHORT_TEXT:
        # Who sends that slowly is not waited for.
        with contextlib.suppress(NetError):
            Body(answer.raw, "", _SHORT_SECONDS).read(_SHORT_TEXT, _SHORT_SECONDS, None)
    answer.close()


def shown(url: str) -> str:
    """A URL as it may stand in a message: without the user, the password and the query, and not too long."""
    if not url.lower().startswith(("http://", "https://")):
        # What stands where a web address has its host is a part of the name here.
        return without_passwords(url).partition("?")[0][:300]
    try:
        parsed = parse_url(url)
        return parsed._replace(auth=None, query=None, fragment=None).url[:300]
    except (LocationParseError, ValueError):
        return repr(url.partition("?")[0].rpartition("@")[2][:100])


def origin_of(url: str) -> Origin | None:
    """Scheme, host and port: who a credential for this URL may be shown to. None when it is no URL."""
    try:
        parsed = parse_url(url)
    except (LocationParseError, ValueError):
        return None
    return _origin(parsed) if parsed.host else None


def _origin(url: Url) -> Origin:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme or "")


def _why(error: BaseException) -> str:
    """The innermost reason, in a few words."""
    inner = _innermost(error)
    return str(inner).rstrip(".")[:200] or type(inner).__name__


def _innermost(error: BaseException) -> BaseException:
    inner: Any = error
    while (below := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__) is not None:
        if not isinstance(below, BaseException):
            break
        inner = below
    return inner  # type: ignore[no-any-return]
