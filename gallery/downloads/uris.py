"""Where a file comes from: LocalAI's addresses turned into URLs and paths.

A new scheme is one function and one line in `_SCHEMES`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from gallery.downloads.errors import BadUri, NotFound, RefusedSource

HUGGING_FACE = "https://huggingface.co"
_GITHUB_RAW = "https://raw.githubusercontent.com"
_SAFE_IN_PATH = "/~!$&'()*+,;=:%"


@dataclass(frozen=True)
class Source:
    """`location` is a URL for kind http, an absolute path for kind file.

    `credentials` are headers for the host of `location` alone. `filename` is the last part of the address.
    """

    kind: Literal["http", "file"]
    location: str
    filename: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class _Settings:
    hf_endpoint: str
    hf_token: str
    file_roots: tuple[Path, ...]


def resolve(
    uri: str, *, hf_endpoint: str = HUGGING_FACE, hf_token: str = "", file_roots: Iterable[Path] = ()
) -> Source:
    """The source an address means. Raises BadUri; for file:// also RefusedSource and NotFound.

    Understood are http(s)://, github:owner/repo/path@branch, huggingface:// (also hf:// and hf.co/)
    owner/repo/path@branch, where the branch may also stand behind the repo, and file:// below one of `file_roots`.
    """
    uri = uri.strip()
    settings = _Settings(_with_scheme(hf_endpoint), hf_token, tuple(file_roots))
    for prefix, function in _SCHEMES:
        if uri.lower().startswith(prefix):
            return function(uri, uri[len(prefix) :], settings)
    raise BadUri(f"The address {uri[:200]!r} is of a kind that this console does not download from.")


def _web(uri: str, _rest: str, settings: _Settings) -> Source:
    if uri.startswith(f"{HUGGING_FACE}/"):
        return _at_hugging_face(uri.removeprefix(HUGGING_FACE), uri, settings)
    if uri.startswith(f"{settings.hf_endpoint}/"):
        return _at_hugging_face(uri.removeprefix(settings.hf_endpoint), uri, settings)
    if not _host_and_path(uri):
        raise BadUri(f"The address {uri[:200]!r} names no host.")
    return Source("http", uri, _last_part(uri))


def _github(uri: str, rest: str, _settings: _Settings) -> Source:
    path, _, branch = rest.removeprefix("//").rpartition("@")
    if not path:
        path, branch = branch, ""
    owner, repo, *inner = _parts(path)
    if not inner:
        raise BadUri(f"The address {uri[:200]!r} must be github:owner/repo/path@branch.")
    location = "/".join([_GITHUB_RAW, owner, repo, _quoted(branch or "main"), *map(_quoted, inner)])
    return Source("http", location, inner[-1])


def _hugging_face(uri: str, rest: str, settings: _Settings) -> Source:
    owner, repo, *inner = _parts(rest)
    branch = ""
    if "@" in repo:
        repo, _, branch = repo.partition("@")
    elif "@" in "/".join(inner):
        path, _, branch = "/".join(inner).rpartition("@")
        inner = path.split("/")
    if not (repo and inner and inner[0]):
        raise BadUri(f"The address {uri[:200]!r} must be huggingface://owner/repo/file.")
    path = "/".join(["", owner, repo, "resolve", quote(branch or "main", safe=""), *map(_quoted, inner)])
    return _at_hugging_face(path, path, settings)


def _at_hugging_face(path: str, uri: str, settings: _Settings) -> Source:
    headers = {"Authorization": f"Bearer {settings.hf_token}"} if settings.hf_token else {}
    return Source("http", settings.hf_endpoint + path, _last_part(uri), headers)


def _file(uri: str, _rest: str, settings: _Settings) -> Source:
    parsed = _host_and_path(uri.replace("?", "%3F").replace("#", "%23"), host_needed=False)
    if parsed is None or parsed[0] not in {"", "localhost"} or "\0" in parsed[1]:
        raise BadUri(f"The address {uri[:200]!r} must be file:///path.")
    try:
        path = Path(parsed[1]).resolve()
    except (OSError, RuntimeError):
        raise _refused(uri) from None
    # Asked first: whether a file is there is nobody's business outside of the allowed folders.
    if not any(path.is_relative_to(root.resolve()) for root in settings.file_roots):
        raise _refused(uri)
    if not path.is_file():
        raise NotFound(f"There is no file at {uri[:200]}.")
    return Source("file", str(path), path.name)


def _refused(uri: str) -> RefusedSource:
    return RefusedSource(
        f"{uri[:200]} is in none of the folders that files may come from.",
        action="An administrator can name the folder in LOCALAI_ADMIN_FILE_ROOTS.",
    )


def _unsupported(uri: str, _rest: str, _settings: _Settings) -> Source:
    scheme = uri.partition(":")[0]
    raise BadUri(
        f"The address {uri[:200]!r} is in a registry ({scheme}://), which this console does not download from yet.",
        action="Use an entry that names its files by https:// or huggingface://.",
    )


def _host_and_path(uri: str, *, host_needed: bool = True) -> tuple[str, str] | None:
    """Host and unquoted path of a URL; None when it is none, or lacks a host that is needed."""
    try:
        parsed = urlsplit(uri)
        host = parsed.hostname or ""
    except ValueError:
        return None
    return (host, unquote(parsed.path)) if host or not host_needed else None


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return parts + [""] * (2 - len(parts))


def _quoted(part: str) -> str:
    return quote(part, safe=_SAFE_IN_PATH)


def _last_part(uri: str) -> str:
    return unquote(PurePosixPath(re.split("[?#]", uri, maxsplit=1)[0]).name)


def _with_scheme(endpoint: str) -> str:
    endpoint = endpoint.strip().rstrip("/") or HUGGING_FACE
    return endpoint if "://" in endpoint else f"https://{endpoint}"


_Scheme = Callable[[str, str, _Settings], Source]
_SCHEMES: tuple[tuple[str, _Scheme], ...] = (
    ("https://", _web),
    ("http://", _web),
    ("github:", _github),
    ("huggingface://", _hugging_face),
    ("hf://", _hugging_face),
    ("hf.co/", _hugging_face),
    ("file://", _file),
    ("oci://", _unsupported),
    ("ocifile://", _unsupported),
    ("ollama://", _unsupported),
)
