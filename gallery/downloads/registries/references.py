"""Names in registries: host/repository:tag@digest."""

import re
from dataclasses import dataclass, replace

from gallery.downloads.errors import BadUri

DOCKER_HUB = "docker.io"
#: What answers for Docker's own registry.
_API_HOSTS = {DOCKER_HUB: "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}))(:\d{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
#: Ollama's names have capital letters.
_REPOSITORY_ANY_CASE = re.compile(_REPOSITORY.pattern.replace("a-z", "A-Za-z"))
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Reference:
    """`digest` is `sha256:…` or empty; with it, the tag is only for people to read."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def api_host(self) -> str:
        return _API_HOSTS.get(self.host, self.host)

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def name(self) -> str:
        """The last part of the repository."""
        return self.repository.rpartition("/")[2]

    def at(self, digest: str) -> "Reference":
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str, *, uri: str, default_host: str, any_case: bool = False) -> Reference:
    """The reference in `text`; `uri` is what an error names. Raises BadUri.

    The first part is a host when it looks like one; otherwise the host is `default_host`, where a name of one part is
    in the namespace `library`.
    """
    text, at, digest = text.partition("@")
    first, slash, rest = text.partition("/")
    host, path = (first, rest) if slash and _is_host(first) else (default_host, text)
    repository, colon, tag = path.partition(":")
    if host in {DOCKER_HUB, default_host} and "/" not in repository:
        repository = f"library/{repository}"
    allowed = _REPOSITORY_ANY_CASE if any_case else _REPOSITORY
    if not (_HOST.fullmatch(host) and allowed.fullmatch(repository) and _TAG.fullmatch(tag if colon else "latest")):
        raise BadUri(f"The address {uri[:200]!r} is no name in a registry; it must be host/repository:tag.")
    if at and not _DIGEST.fullmatch(digest):
        raise BadUri(f"The digest in the address {uri[:200]!r} must be sha256: and 64 hexadecimal digits.")
    return Reference(host.lower(), repository, tag or ("" if digest else "latest"), digest)


def is_digest(text: str) -> bool:
    return bool(_DIGEST.fullmatch(text))


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"
