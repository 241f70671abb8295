"""Models as Ollama's registry has them: manifests of the older kind, and blobs, on a server of ours."""

import hashlib
import json

from tests.fakes.http_server import Server

_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_OLLAMA = "application/vnd.ollama.image."


def publish(server: Server, repository: str, tag: str, weights: bytes, *others: str) -> str:
    """A model under a tag; `others` are the kinds of further layers. Returns the digest of the weights."""
    parts = [(f"{_OLLAMA}model", weights), *((f"{_OLLAMA}{kind}", kind.encode()) for kind in others)]
    layers = [_layer(server, repository, kind, data) for kind, data in parts]
    content = {
        "schemaVersion": 2,
        "mediaType": _DOCKER,
        "config": _layer(server, repository, "application/vnd.docker.container.image.v1+json", b"{}"),
        "layers": layers,
    }
    server.gives(f"/v2/{repository}/manifests/{tag}", json.dumps(content).encode(), content_type=_DOCKER)
    digest: str = layers[0]["digest"]  # type: ignore[assignment]
    return digest


def _layer(server: Server, repository: str, kind: str, data: bytes) -> dict[str, str | int]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    server.gives(f"/v2/{repository}/blobs/{digest}", data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}
