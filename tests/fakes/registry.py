"""Debian's docker-registry, a real one on a port of its own, and what is pushed to it by its HTTP API."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

PROGRAM = "docker-registry"
USER, PASSWORD = "puller", "correct horse"
#: PASSWORD, as bcrypt.
_HTPASSWD = "puller:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"
OCI = "application/vnd.oci.image."
TITLE = "org.opencontainers.image.title"


class Registry:
    """`host` is host:port. What is pushed goes in as whoever `session` is."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.session = requests.Session()
        self.session.trust_env = False

    def push(self, repository: str, data: bytes) -> dict[str, Any]:
        """A blob; returns its descriptor."""
        digest = digest_of(data)
        begun = self.session.post(self._url(repository, "blobs/uploads/"), timeout=10)
        begun.raise_for_status()
        where = begun.headers["Location"]
        done = self.session.put(f"{where}{'&' if '?' in where else '?'}digest={digest}", data=data, timeout=10)
        done.raise_for_status()
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}

    def tag(self, repository: str, name: str, content: Mapping[str, Any]) -> str:
        """A manifest under a tag or digest; returns its digest."""
        body = json.dumps(content).encode()
        kind = {"Content-Type": content["mediaType"]}
        self.session.put(
            self._url(repository, f"manifests/{name}"), data=body, headers=kind, timeout=10
        ).raise_for_status()
        return digest_of(body)

    def push_artifact(self, repository: str, files: Mapping[str, bytes], tag: str = "latest") -> str:
        """Files with their names, as ORAS pushes them."""
        layers = [self.push(repository, data) | {"annotations": {TITLE: name}} for name, data in files.items()]
        config = self.push(repository, b"{}") | {"mediaType": "application/vnd.oci.empty.v1+json"}
        return self.tag(repository, tag, manifest(config, layers))

    def push_image(self, repository: str, layers: list[bytes], tag: str = "latest", kind: str = "tar+gzip") -> str:
        pushed = [self.push(repository, layer) | {"mediaType": f"{OCI}layer.v1.{kind}"} for layer in layers]
        rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
        config = self.push(repository, json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode())
        return self.tag(repository, tag, manifest(config | {"mediaType": f"{OCI}config.v1+json"}, pushed))

    def size_of(self, repository: str, digest: str) -> int:
        """Of a manifest."""
        accept = {"Accept": f"{OCI}manifest.v1+json"}
        return len(self.session.get(self._url(repository, f"manifests/{digest}"), headers=accept, timeout=10).content)

    def _url(self, repository: str, path: str) -> str:
        return f"http://{self.host}/v2/{repository}/{path}"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def manifest(config: Mapping[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json", "config": dict(config), "layers": layers}


def packed(files: Mapping[str, bytes | tarfile.TarInfo], *, compressed: bool = True) -> bytes:
    """A tar with these files, or members that are made by hand."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name) if isinstance(data, bytes) else data
            member.name = name
            member.size = len(data) if isinstance(data, bytes) else 0
            tar.addfile(member, io.BytesIO(data) if isinstance(data, bytes) else None)
    return gzip.compress(whole.getvalue()) if compressed else whole.getvalue()


@contextmanager
def running(folder: Path, auth: Mapping[str, Any] | None = None) -> Iterator[Registry]:
    """A registry that keeps everything below `folder`; `auth` is that part of its configuration."""
    port = _free_port()
    settings: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of the tests"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(json.dumps(settings | ({"auth": dict(auth)} if auth else {})))
    program = shutil.which(PROGRAM) or PROGRAM
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        try:
            _wait(port, child)
            yield Registry(f"127.0.0.1:{port}", folder)
        finally:
            child.kill()
            child.wait(10)


def htpasswd(folder: Path) -> dict[str, Any]:
    """The configuration for one user, USER with PASSWORD."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD + "\n")
    return {"htpasswd": {"realm": "of the tests", "path": str(folder / "htpasswd")}}


def basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("docker-registry did not start")
