"""ocifile:///path.tar, an image or an artifact in a file below one of the folders that an administrator named.

An expanded address, ocifile:///path.tar#sha256:…, names the bytes of one layer in it.
"""

from dataclasses import replace

from gallery.downloads.errors import BadUri
from gallery.downloads.registries.contents import Package, same_digest
from gallery.downloads.registries.layouts import Layout
from gallery.downloads.registries.references import is_digest
from gallery.downloads.schemes.file import allowed
from gallery.downloads.schemes.scheme import Context, Scheme, only_file
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec


def _source(uri: str, rest: str, context: Context) -> Source:
    plain, digest = _split(uri)
    if not digest:
        digest = _split(only_file(uri, _expand(FileSpec("file", "", uri), rest, context)).uri)[1]
    path = allowed(plain, context.settings, "ocifile")
    return Source("file", str(path), path.name, piece=Layout.of(path).piece(digest))


def _expand(spec: FileSpec, _rest: str, context: Context) -> tuple[FileSpec, ...]:
    plain, digest = _split(spec.uri.strip())
    if digest:
        return (replace(spec, sha256=same_digest(spec, digest)),)
    layout = Layout.of(allowed(plain, context.settings, "ocifile"))
    return Package(layout.path.name, layout.manifest(), lambda blob: f"{plain}#{blob.digest}", layout.document).files(
        spec
    )


def _split(uri: str) -> tuple[str, str]:
    plain, mark, digest = uri.partition("#")
    if mark and not is_digest(digest):
        raise BadUri(f"The address {uri[:200]!r} must be ocifile:///path.tar.")
    return plain, digest


SCHEME = Scheme(("ocifile://",), _source, _expand)
