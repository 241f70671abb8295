"""huggingface://owner/repo/path@branch, where the branch may also stand behind the repo; hf:// and hf.co/ alike.

Every address on Hugging Face, plain links too, means the first of the endpoints that are set; the others are further
sources of the same file. The token goes to these endpoints and to nobody else.
"""

from urllib.parse import quote, unquote, urlsplit

from gallery.downloads.errors import BadUri
from gallery.downloads.schemes.scheme import HUGGING_FACE, Context, Scheme, Settings, last_part, parts, quoted
from gallery.downloads.schemes.source import Source

_PREFIXES = ("huggingface://", "hf://", "hf.co/")


def at_hub(uri: str, settings: Settings) -> Source | None:
    """The source of a link to Hugging Face or to one of its mirrors; None when it is a link to somewhere else."""
    path = _path_at_hub(uri, settings.hf_endpoints)
    if path is None:
        return None
    endpoints = list(settings.hf_endpoints)
    named = next((endpoint for endpoint in endpoints if uri.startswith(f"{endpoint}/")), None)
    if named:
        endpoints.remove(named)
        endpoints.insert(0, named)
    return _at(path, uri, endpoints, settings.hf_token)


def repository_of(uri: str, endpoints: tuple[str, ...]) -> str:
    """owner/repo of an address of a file on Hugging Face, in whatever form; empty when it is none."""
    lowered = uri.strip().lower()
    prefix = next((prefix for prefix in _PREFIXES if lowered.startswith(prefix)), "")
    if prefix:
        owner, repo, *_ = parts(uri.strip()[len(prefix) :])
        return f"{owner}/{repo.partition('@')[0]}" if owner and repo else ""
    path = _path_at_hub(uri.strip(), endpoints)
    owner, repo, *inner = parts(unquote(urlsplit(path).path)) if path else ("", "")
    return f"{owner}/{repo}" if inner and inner[0] in {"resolve", "raw", "blob"} else ""


def _path_at_hub(uri: str, endpoints: tuple[str, ...]) -> str | None:
    home = next((home for home in (HUGGING_FACE, *endpoints) if uri.startswith(f"{home}/")), None)
    return None if home is None else uri.removeprefix(home)


def _source(uri: str, rest: str, context: Context) -> Source:
    owner, repo, *inner = parts(rest)
    branch = ""
    if "@" in repo:
        repo, _, branch = repo.partition("@")
    elif "@" in "/".join(inner):
        path, _, branch = "/".join(inner).rpartition("@")
        inner = path.split("/")
    if not (repo and inner and inner[0]):
        raise BadUri(f"The address {uri[:200]!r} must be huggingface://owner/repo/file.")
    path = "/".join(["", owner, repo, "resolve", quote(branch or "main", safe=""), *map(quoted, inner)])
    return _at(path, path, context.settings.hf_endpoints, context.settings.hf_token)


def _at(path: str, uri: str, endpoints: list[str] | tuple[str, ...], token: str) -> Source:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    first, *others = [Source("http", endpoint + path, last_part(uri), headers) for endpoint in endpoints]
    return Source(first.kind, first.location, first.filename, headers, tuple(others))


SCHEME = Scheme(_PREFIXES, _source)
