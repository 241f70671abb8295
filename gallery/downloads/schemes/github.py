"""github:owner/repo/path@branch, with // after the colon or without."""

from gallery.downloads.errors import BadUri
from gallery.downloads.schemes.scheme import Context, Scheme, parts, quoted
from gallery.downloads.schemes.source import Source

_RAW = "https://raw.githubusercontent.com"


def _source(uri: str, rest: str, _context: Context) -> Source:
    path, _, branch = rest.removeprefix("//").rpartition("@")
    if not path:
        path, branch = branch, ""
    owner, repo, *inner = parts(path)
    if not inner:
        raise BadUri(f"The address {uri[:200]!r} must be github:owner/repo/path@branch.")
    location = "/".join([_RAW, owner, repo, quoted(branch or "main"), *map(quoted, inner)])
    return Source("http", location, inner[-1])


SCHEME = Scheme(("github:",), _source)
