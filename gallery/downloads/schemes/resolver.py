"""The table of schemes, and who looks an address up in it.

A new scheme is one module beside this one and one line in `SCHEMES`.
"""

from collections.abc import Mapping, Sequence

from gallery.downloads.errors import BadUri
from gallery.downloads.registries.client import Registries
from gallery.downloads.schemes import file, github, huggingface, oci, ocifile, ollama, web
from gallery.downloads.schemes.scheme import Context, Scheme, Settings
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec
from localai_admin.lib.net import Client

SCHEMES: tuple[Scheme, ...] = (
    web.SCHEME,
    github.SCHEME,
    huggingface.SCHEME,
    file.SCHEME,
    ollama.SCHEME,
    oci.SCHEME,
    ocifile.SCHEME,
)
_USUAL = Settings()


class Resolver:
    """Called with an address, gives its source. For one run; may be used by several threads.

    With a `client`, registries are asked for what their names mean, and what they say is kept for the run. Without
    one, nothing is asked of anybody, and a name in a registry is a BadUri. `secrets` are what registries want to hear,
    by host: `user:password`, or a token.
    """

    def __init__(
        self, settings: Settings = _USUAL, client: Client | None = None, secrets: Mapping[str, str] | None = None
    ) -> None:
        self._context = Context(settings, Registries(client, secrets or {}) if client else None)

    def __call__(self, uri: str) -> Source:
        """The source an address means. Raises DownloadError: BadUri, RefusedSource, NotFound; of registries, any."""
        uri = uri.strip()
        scheme, rest = _scheme_of(uri)
        return scheme.source(uri, rest, self._context)

    def expand(self, files: Sequence[FileSpec]) -> tuple[FileSpec, ...]:
        """The files with digest and size where a registry says them; a name of several files becomes several.

        Raises DownloadError. What is expanded already stays as it is.
        """
        return tuple(found for spec in files for found in self._expanded(spec))

    def _expanded(self, spec: FileSpec) -> tuple[FileSpec, ...]:
        scheme, rest = _scheme_of(spec.uri.strip())
        return scheme.expand(spec, rest, self._context) if scheme.expand else (spec,)


def _scheme_of(uri: str) -> tuple[Scheme, str]:
    lowered = uri.lower()
    for scheme in SCHEMES:
        for prefix in scheme.prefixes:
            if lowered.startswith(prefix):
                return scheme, uri[len(prefix) :]
    raise BadUri(f"The address {uri[:200]!r} is of a kind that this console does not download from.")
