"""ollama://model:tag, with a namespace and another host before it where there are any.

An expanded address, ollama://model:tag@sha256:…, names the weights themselves: it means the same for ever.
"""

from dataclasses import replace

from gallery.downloads.errors import BadManifest
from gallery.downloads.registries import references
from gallery.downloads.registries.contents import same_digest
from gallery.downloads.registries.manifests import Blob
from gallery.downloads.registries.references import Reference
from gallery.downloads.schemes.scheme import Context, Scheme
from gallery.downloads.schemes.source import Source
from gallery.downloads.specs import FileSpec

_HOST = "registry.ollama.ai"
_ACCEPT = ("application/vnd.docker.distribution.manifest.v2+json",)
_WEIGHTS = "application/vnd.ollama.image.model"


def _source(uri: str, rest: str, context: Context) -> Source:
    at = _reference(uri, rest)
    registries = context.ask(uri)
    if not at.digest:
        at = at.at(_weights(uri, at, context).digest)
    return registries.blob(at, f"{at.name}.gguf")


def _expand(spec: FileSpec, rest: str, context: Context) -> tuple[FileSpec, ...]:
    at = _reference(spec.uri, rest)
    if at.digest:
        return (replace(spec, sha256=same_digest(spec, at.digest)),)
    blob = _weights(spec.uri, at, context)
    uri = f"{spec.uri.strip()}@{blob.digest}"
    return (replace(spec, sha256=same_digest(spec, blob.digest), size=blob.size, uri=uri),)


def _reference(uri: str, rest: str) -> Reference:
    return references.parse(rest, uri=uri, default_host=_HOST, any_case=True)


def _weights(uri: str, at: Reference, context: Context) -> Blob:
    manifest = context.ask(uri).manifest(at, _ACCEPT)
    found = [layer for layer in manifest.layers if layer.media_type == _WEIGHTS]
    if len(found) != 1:
        raise BadManifest(
            f"{at} has {len(found) or 'no'} files of weights; just one is understood.",
            action="Choose another tag of the model, one in the GGUF format.",
        )
    return found[0]


SCHEME = Scheme(("ollama://",), _source, _expand)
