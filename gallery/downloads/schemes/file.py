"""file:///path, below one of the folders that an administrator named."""

from pathlib import Path

from gallery.downloads.errors import BadUri, NotFound, RefusedSource
from gallery.downloads.schemes.scheme import Context, Scheme, Settings, host_and_path
from gallery.downloads.schemes.source import Source
from localai_admin.lib.paths import is_open


def allowed(uri: str, settings: Settings, scheme: str = "file") -> Path:
    """The file that an address means. Raises BadUri, RefusedSource, NotFound."""
    plain = uri.partition("://")[2].replace("?", "%3F").replace("#", "%23")
    parsed = host_and_path(f"file://{plain}", host_needed=False)
    if parsed is None or parsed[0] not in {"", "localhost"} or "\0" in parsed[1]:
        raise BadUri(f"The address {uri[:200]!r} must be {scheme}:///path.")
    try:
        path = Path(parsed[1]).resolve()
    except (OSError, RuntimeError):
        raise _refused(uri) from None
    # Asked first: whether a file is there is nobody's business outside of the allowed folders.
    if not is_open(path, settings.file_roots, settings.private):
        raise _refused(uri)
    if not path.is_file():
        raise NotFound(f"There is no file at {uri[:200]}.")
    return path


def _source(uri: str, _rest: str, context: Context) -> Source:
    path = allowed(uri, context.settings)
    return Source("file", str(path), path.name)


def _refused(uri: str) -> RefusedSource:
    return RefusedSource(
        f"{uri[:200]} is in none of the folders that files may come from.",
        action="An administrator can name the folder in LOCALAI_ADMIN_FILE_ROOTS; the console's own data stays closed.",
    )


SCHEME = Scheme(("file://",), _source)
