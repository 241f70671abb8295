"""A stand-in for Hugging Face: real HTTP with listings in pages, facts, gated repositories, and files with ranges.

Let a console use it by HF_ENDPOINT (`Hub.address`) and LOCALAI_ADMIN_TRUSTED_HOSTS (`Hub.host`).
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = 1000
_HTML = b"<!DOCTYPE html><html><title>Sorry</title></html>"


@dataclass
class Repo:
    """`files` are contents by path; `sizes` are files that are listed with a size and have no content to give."""

    files: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    #: Beside what a repository always says: pipeline_tag, tags, cardData, gguf.
    facts: dict[str, Any] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    #: Needs this token for its files when it is not empty; for everything when it is private.
    token: str = ""
    is_private: bool = False
    #: Answer the listing with this instead.
    status: int = 200
    is_html: bool = False
    wait: float = 0.0
    page: int = PAGE
    #: Where the next page is said to be; empty is the right place.
    next_page: str = ""
    #: Files that come only so fast, in bytes a second; 0 is at once.
    speed: int = 0

    @property
    def commit(self) -> str:
        return self.branches.get("main") or "c0ffee" + "0" * 34


class Hub:
    """`repos` by owner/name; `seen` are (method, path with query, headers) of every request so far."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.over = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._http.daemon_threads = True
        self.host = f"127.0.0.1:{self._http.server_address[1]}"
        self.address = f"http://{self.host}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def has(self, name: str, files: dict[str, bytes] | None = None, **how: Any) -> Repo:
        self.repos[name] = Repo(dict(files or {}), **how)
        return self.repos[name]

    def asked(self, part: str) -> list[str]:
        return [path for _, path, _ in self.seen if part in path]

    def close(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    try:
        yield hub
    finally:
        hub.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self.hub.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.close_connection = True
        try:
            self._route()
        except (BrokenPipeError, ConnectionResetError):
            return

    do_HEAD = do_GET

    def _route(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._api("/".join(parts[2:4]), parts[4:], parse_qs(url.query))
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), unquote("/".join(parts[4:])))
        else:
            self._error(404, "EntryNotFound")

    def _api(self, name: str, rest: list[str], query: dict[str, list[str]]) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.is_private and not self._may(repo)):
            self._error(401, "RepoNotFound")
            return
        self.hub.over.wait(repo.wait)
        if repo.is_html:
            self._send(200, _HTML, {"Content-Type": "text/html"})
        elif repo.status != 200:
            self._error(repo.status, "GatedRepo" if repo.status == 403 else "")
        elif rest[:1] == ["scan"]:
            self._json({"repositoryId": name, "revision": repo.commit, "hasUnsafeFile": False, "scansDone": True})
        elif rest[:1] == ["tree"]:
            self._tree(name, repo, int(query.get("cursor", ["0"])[0]))
        else:
            self._info(name, repo, unquote(rest[1]) if rest[:1] == ["revision"] else "main")

    def _info(self, name: str, repo: Repo, revision: str) -> None:
        commit = repo.commit if revision in {"main", repo.commit} else repo.branches.get(revision)
        if commit is None:
            self._error(404, "RevisionNotFound")
            return
        gated = "manual" if repo.token else False
        self._json(
            {"id": name, "modelId": name, "sha": commit, "gated": gated, "private": repo.is_private, **repo.facts}
        )

    def _tree(self, name: str, repo: Repo, start: int) -> None:
        listed = [_item(path, len(body), body) for path, body in repo.files.items()]
        listed += [_item(path, size, None) for path, size in repo.sizes.items()]
        folders = {path.rpartition("/")[0] for path in [*repo.files, *repo.sizes] if "/" in path}
        listed += [{"type": "directory", "oid": "d" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
        headers = {}
        if start + repo.page < len(listed):
            here = f"{self.hub.address}/api/models/{name}/tree/{repo.commit}?recursive=true&cursor={start + repo.page}"
            headers["Link"] = f'<{repo.next_page or here}>; rel="next"'
        self._json(listed[start : start + repo.page], headers)

    def _resolve(self, name: str, path: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or path not in repo.files:
            self._error(404, "EntryNotFound")
        elif repo.token and not self._may(repo):
            self._error(401 if not self.headers.get("Authorization") else 403, "GatedRepo")
        else:
            self._file(repo, repo.files[path])

    def _file(self, repo: Repo, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        headers = {
            "ETag": f'"{digest}"',
            "X-Linked-ETag": f'"{digest}"',
            "X-Linked-Size": str(len(body)),
            "X-Repo-Commit": repo.commit,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        asked = self.headers.get("Range", "")
        if not asked or self.headers.get("If-Range") not in {None, headers["ETag"]}:
            self._send(200, body, headers, repo.speed)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), min(int(last or len(body) - 1), len(body) - 1)
        if start >= len(body):
            self._send(416, b"", {"Content-Range": f"bytes */{len(body)}", "ETag": headers["ETag"]})
            return
        headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        self._send(206, body[start : end + 1], headers, repo.speed)

    def _may(self, repo: Repo) -> bool:
        return bool(repo.token) and self.headers.get("Authorization") == f"Bearer {repo.token}"

    def _error(self, status: int, code: str) -> None:
        self._send(status, b'{"error":"no"}', {"X-Error-Code": code, "Content-Type": "application/json"})

    def _json(self, content: object, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str], speed: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        step = max(1, speed // 20) if speed else max(1, len(body))
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            if speed:
                self.hub.over.wait(0.05)

    def log_message(self, *_: object) -> None:
        pass


def _item(path: str, size: int, body: bytes | None) -> dict[str, Any]:
    """As listed: what is large, or weights, is kept with its digest; small texts are not."""
    item: dict[str, Any] = {"type": "file", "oid": "a" * 40, "size": size, "path": path}
    if body is None or not path.endswith((".json", ".md", ".txt")):
        digest = hashlib.sha256(body if body is not None else path.encode("utf-8", "replace")).hexdigest()
        item["lfs"] = {"oid": digest, "size": size, "pointerSize": 135}
    return item
