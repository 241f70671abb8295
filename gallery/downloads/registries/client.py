"""Asking registries: for manifests, and for the way to a blob."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping

from gallery.downloads import answers
from gallery.downloads.errors import BadManifest, from_net
from gallery.downloads.registries import manifests
from gallery.downloads.registries.manifests import Blob, Manifest
from gallery.downloads.registries.references import Reference
from gallery.downloads.registries.tokens import Tokens, sign_in
from gallery.downloads.schemes.source import Source
from localai_admin.lib.net import Client, ConnectFailed, NetError, Response, origin_of, shown

_EVERY_KIND = (*manifests.INDEXES, *manifests.MANIFESTS)
_READ_SECONDS = 60.0
#: Seconds for which a tag is taken to mean what it meant. What has a digest never changes.
_TAG_SECONDS = 300.0


class Registries:
    """For one run; may be used by several threads, of which one at a time asks."""

    def __init__(self, client: Client, secrets: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._tokens = Tokens(client, secrets, clock)
        self._lock = threading.RLock()
        self._manifests: dict[tuple[str, str, str], tuple[float, Manifest]] = {}
        self._homes: dict[str, str] = {}

    def manifest(self, at: Reference, accept: tuple[str, ...] = _EVERY_KIND) -> Manifest:
        """The manifest of a name, of several the one for this machine. Raises DownloadError."""
        key = (at.host, at.repository, at.wanted)
        with self._lock:
            kept = self._manifests.get(key)
            if kept and self._clock() < kept[0]:
                return kept[1]
            found = self._manifest(at, accept)
            self._manifests[key] = (float("inf") if at.digest else self._clock() + _TAG_SECONDS, found)
            return found

    def config(self, at: Reference, blob: Blob) -> bytes:
        """The document that a manifest names as its configuration, checked by its digest. Raises DownloadError."""
        if blob.size > manifests.MAX_BYTES:
            raise BadManifest(f"The configuration of {at} is larger than {manifests.MAX_BYTES:,} bytes.")
        with self._lock:
            return self._document(at.at(blob.digest), f"blobs/{blob.digest}", "*/*")[0]

    def blob(self, at: Reference, filename: str) -> Source:
        """Where the bytes with the reference's digest are. Raises DownloadError."""
        path = f"blobs/{at.digest}"
        with self._lock:
            headers = self._tokens.known(at)
            if headers is None:
                # Nobody has asked this repository anything yet, as after a restart: it says who it wants to know.
                self._ask(at, path, method="HEAD").close()
                headers = self._tokens.known(at) or {}
            return Source("http", self._url(at, path), filename, headers, sign_in=sign_in(at))

    def _manifest(self, at: Reference, accept: tuple[str, ...]) -> Manifest:
        found = self._read(at, accept)
        if isinstance(found, Manifest):
            return found
        chosen = manifests.for_this_machine(found, str(at))
        inner = self._read(at.at(chosen.digest), manifests.MANIFESTS)
        if not isinstance(inner, Manifest):
            raise BadManifest(f"{at} lists lists of manifests, which this console does not follow.")
        return inner

    def _read(self, at: Reference, accept: tuple[str, ...]) -> Manifest | tuple[Blob, ...]:
        body, digest = self._document(at, f"manifests/{at.wanted}", ", ".join(accept))
        return manifests.read(body, digest, str(at))

    def _document(self, at: Reference, path: str, accept: str) -> tuple[bytes, str]:
        """A small document and its digest, which is the one that was asked for, or that the registry announces."""
        try:
            with self._ask(at, path, accept=accept) as response:
                answers.raise_for(response, Source("http", response.url, at.name), expected={200})
                body = response.read(manifests.MAX_BYTES, _READ_SECONDS)
        except NetError as error:
            raise from_net(error) from None
        got = "sha256:" + hashlib.sha256(body).hexdigest()
        announced = response.headers.get("Docker-Content-Digest", "")
        expected = at.digest or (announced if announced.startswith("sha256:") else got)
        if got != expected:
            where = shown(response.url)
            raise BadManifest(f"{where} is not what was asked for: it should be {expected} and is {got}.")
        return body, got

    def _ask(self, at: Reference, path: str, *, accept: str = "*/*", method: str = "GET") -> Response:
        """The answer, once the registry knows who asks. Raises DownloadError."""
        url = self._url(at, path)
        response = self._open(url, method, accept, self._tokens.known(at) or {})
        if response.status == 401 and _is_at(response, url):
            response.close()
            headers = self._tokens.learn(at, response.headers.get("WWW-Authenticate", ""))
            response = self._open(url, method, accept, headers)
        if response.status in {401, 403} and _is_at(response, url):
            response.close()
            raise self._tokens.refused(at)
        self._tokens.none_needed(at)
        return response

    def _open(self, url: str, method: str, accept: str, headers: Mapping[str, str]) -> Response:
        try:
            return self._client.open(url, method=method, headers={"Accept": accept}, credentials=headers)
        except NetError as error:
            raise from_net(error) from None

    def _url(self, at: Reference, path: str) -> str:
        host = at.api_host
        if host not in self._homes:
            self._homes[host] = self._home(host)
        return f"{self._homes[host]}/v2/{at.repository}/{path}"

    def _home(self, host: str) -> str:
        """https, but for a trusted host that turns out to speak plain http alone."""
        name, _, port = host.rpartition(":")
        if not self._client.policy.trusts(name or host, int(port) if name and port.isdecimal() else 443):
            return f"https://{host}"
        try:
            self._client.open(f"https://{host}/v2/").close()
        except ConnectFailed as error:
            if not self._speaks_http(host):
                raise from_net(error) from None
            return f"http://{host}"
        except NetError as error:
            raise from_net(error) from None
        return f"https://{host}"

    def _speaks_http(self, host: str) -> bool:
        """Whether a registry answers there without TLS; a server with TLS says 400 to that."""
        try:
            with self._client.open(f"http://{host}/v2/") as response:
                return response.status in {200, 401, 404}
        except NetError:
            return False


def _is_at(response: Response, url: str) -> bool:
    """Whether the registry itself has answered, and not whom it redirects to."""
    return origin_of(response.url) == origin_of(url)
