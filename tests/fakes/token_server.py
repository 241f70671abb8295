"""Gives the tokens that docker-registry asks for: signed by a key that is made for the test, and counted."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.registry import basic

SERVICE, ISSUER = "registry of the tests", "token server of the tests"


class TokenServer:
    """`asked` are the queries so far; `who` is what Authorization each came with. Private names need `basic()`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = folder / "key.pem", folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tests", "-days", "2",
             "-keyout", str(self.key), "-out", str(self.certificate)], check=True, capture_output=True,
        )  # fmt: skip
        self.asked: list[dict[str, str]] = []
        self.who: list[str | None] = []
        #: Seconds that the next tokens hold, as told.
        self.seconds = 300
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of": self}))
        self.realm = f"http://127.0.0.1:{self._http.server_address[1]}/token"
        self._thread = Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def configuration(self) -> dict[str, Any]:
        bundle = str(self.certificate)
        return {"token": {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}}

    def token(self, access: list[dict[str, Any]]) -> str:
        der = "".join(self.certificate.read_text().splitlines()[1:-1])
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "", "aud": SERVICE, "exp": now + 600, "nbf": now - 60, "iat": now, "jti": "1"}
        head = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
        text = f"{_web64(json.dumps(head).encode())}.{_web64(json.dumps({**claims, 'access': access}).encode())}"
        signed = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(), check=True, capture_output=True
        )
        return f"{text}.{_web64(signed.stdout)}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


@contextmanager
def running(folder: Path) -> Iterator[TokenServer]:
    server = TokenServer(folder)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    server_of: TokenServer

    def do_GET(self) -> None:
        tokens = self.server_of
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        tokens.asked.append(query)
        tokens.who.append(self.headers.get("Authorization"))
        kind, name, actions = query.get("scope", "::").split(":")
        if name.startswith("private/") and self.headers.get("Authorization") != basic():
            self.send_error(401)
            return
        access = [{"type": kind, "name": name, "actions": actions.split(",")}]
        body = json.dumps({"token": tokens.token(access), "expires_in": tokens.seconds}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _web64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
