"""Who the console is to a registry: found out by asking, and kept as long as it holds.

A token is for one repository of one registry, to read. It is shown to that registry and to nobody it redirects to.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from gallery.downloads import answers
from gallery.downloads.errors import BadManifest, NeedsToken, from_net
from gallery.downloads.registries.references import Reference
from gallery.downloads.schemes.source import Source
from localai_admin.lib.net import Client, NetError, shown

_MAX_ANSWER = 256 << 10
#: Seconds that a token holds when the registry does not say.
_USUAL = 60
_READ_SECONDS = 30.0
#: A token is not believed for longer. Seconds.
_LONGEST = 86_400
_FOREVER = float("inf")
_CHALLENGE = re.compile(r"(?:^|,)\s*(bearer|basic)(?=\s)", re.IGNORECASE)
_PAIR = re.compile(r'([A-Za-z_]+)="([^"]*)"')

Headers = Mapping[str, str]


@dataclass(frozen=True)
class _Access:
    """`challenge` is what the registry had asked for, so that it need not say so again."""

    headers: Headers
    until: float
    challenge: str = ""


class Tokens:
    """`secrets` maps hosts to `user:password` or to a token. Not safe for several threads at once."""

    def __init__(self, client: Client, secrets: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._secrets = {host.strip().lower(): secret for host, secret in secrets.items()}
        self._known: dict[tuple[str, str], _Access] = {}

    def known(self, at: Reference) -> Headers | None:
        """Headers for a repository; empty when it asks for none, None while that is not known. Raises DownloadError."""
        access = self._known.get((at.host, at.repository))
        if access is None:
            return None
        return access.headers if self._clock() < access.until else self.learn(at, access.challenge)

    def none_needed(self, at: Reference) -> None:
        self._known.setdefault((at.host, at.repository), _Access({}, _FOREVER))

    def learn(self, at: Reference, challenge: str) -> Headers:
        """Headers that answer a registry's `WWW-Authenticate`. Raises DownloadError: NeedsToken without a secret."""
        access = self._answer(at, challenge)
        self._known[at.host, at.repository] = access
        return access.headers

    def refused(self, at: Reference) -> NeedsToken:
        if self._secret(at):
            return NeedsToken(
                f"{at.host} does not give {at} to the account that is set for it, or does not have it.",
                action=f"Check the name, and what LOCALAI_ADMIN_REGISTRY_AUTH has for {at.host}.",
            )
        return NeedsToken(f"{at.host} does not give {at} without signing in, or does not have it.", action=sign_in(at))

    def _answer(self, at: Reference, challenge: str) -> _Access:
        secret = self._secret(at)
        if secret and ":" not in secret:
            return _Access({"Authorization": f"Bearer {secret}"}, _FOREVER, challenge)
        # Several challenges may come in one line.
        _, *words = _CHALLENGE.split(challenge)
        kinds = dict(zip(map(str.lower, words[::2]), words[1::2], strict=True))
        if "bearer" in kinds:
            return self._fetched(at, dict(_PAIR.findall(kinds["bearer"])), _basic(secret), challenge)
        if "basic" in kinds and secret:
            return _Access(_basic(secret), _FOREVER, challenge)
        raise self.refused(at)

    def _fetched(self, at: Reference, asked: Mapping[str, str], own: Headers, challenge: str) -> _Access:
        realm = asked.get("realm", "")
        scope = f"repository:{at.repository}:pull"
        # No more is asked for than is needed, whatever the registry suggests.
        query = urlencode({"service": asked.get("service", ""), "scope": scope})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        source = Source("http", url, at.name, own)
        try:
            with self._client.open(url, credentials=own) as response:
                if response.status in {400, 401, 403}:
                    raise self.refused(at)
                answers.raise_for(response, source)
                body = response.read(_MAX_ANSWER, _READ_SECONDS)
        except NetError as error:
            raise from_net(error) from None
        token, seconds = _token(body, shown(realm))
        # A token that is about to end would end on the way.
        return _Access({"Authorization": f"Bearer {token}"}, self._clock() + 0.8 * seconds, challenge)

    def _secret(self, at: Reference) -> str:
        return self._secrets.get(at.host) or self._secrets.get(at.api_host) or ""


def sign_in(at: Reference) -> str:
    return (
        f'If {at.host} has it for those it knows, an administrator can put {{"{at.host}": "user:password"}} into '
        "LOCALAI_ADMIN_REGISTRY_AUTH; else check the name."
    )


def _basic(secret: str) -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()} if secret else {}


def _token(body: bytes, where: str) -> tuple[str, float]:
    """The token in an answer and how many seconds it holds. Raises BadManifest."""
    try:
        data = json.loads(body)
        token = data.get("token") or data.get("access_token")
        seconds = data.get("expires_in", _USUAL)
    except (ValueError, AttributeError, RecursionError):
        token, seconds = None, _USUAL
    if not isinstance(token, str) or not token.isprintable() or not token.isascii():
        raise BadManifest(f"{where} was asked for a token, and answered with none.")
    return token, float(min(seconds, _LONGEST)) if isinstance(seconds, int | float) and seconds > 0 else _USUAL
