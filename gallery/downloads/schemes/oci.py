"""oci://host/repository:tag, also quay.io/…, ghcr.io/… and docker.io/… without the scheme: artifacts and images.

An expanded address, oci://host/repository:tag@sha256:…#blob, names the bytes of one layer: it means the same for ever.
"""

from dataclasses import replace

from gallery.downloads.errors import BadUri
from gallery.downloads.registries import references
from gallery.downloads.registries.contents import Package, same_digest
from gallery.downloads.registries.references import DOCKER_HUB, Reference
from gallery.downloads.schemes.scheme import Context, Scheme, only_file
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec

_SHORT = ("quay.io/", "ghcr.io/", "docker.io/")
_BLOB = "#blob"


def _source(uri: str, rest: str, context: Context) -> Source:
    at = _reference(uri)
    if not uri.endswith(_BLOB):
        at = _reference(only_file(uri, _expand(FileSpec(at.name, "", uri), rest, context)).uri)
    if not at.digest:
        raise BadUri(f"The address {uri[:200]!r} must name the digest of a blob.")
    return context.ask(uri).blob(at, at.name)


def _expand(spec: FileSpec, _rest: str, context: Context) -> tuple[FileSpec, ...]:
    uri = spec.uri.strip()
    at = _reference(uri)
    if uri.endswith(_BLOB):
        return (replace(spec, sha256=same_digest(spec, at.digest)),)
    registries = context.ask(uri)
    return Package(
        str(at),
        registries.manifest(at),
        lambda blob: f"oci://{at.at(blob.digest)}{_BLOB}",
        lambda blob: registries.config(at, blob),
    ).files(spec)


def _reference(uri: str) -> Reference:
    text = uri.removesuffix(_BLOB)
    rest = text[len("oci://") :] if text.lower().startswith("oci://") else text
    return references.parse(rest, uri=uri, default_host=DOCKER_HUB)


SCHEME = Scheme(("oci://", *_SHORT), _source, _expand)
