"""A web server that can misbehave: a real one, on a port of its own, whose paths each do what a test asks for."""

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: For 127.0.0.1 and files.test, signed by itself; its key is beside it, and opens nothing but these tests.
CERTIFICATE = Path(__file__).parent.parent / "fixtures/tls/cert.pem"
_PIECE = 64 << 10


@dataclass
class Page:
    """What a path answers. The defaults are a good file server: lengths, ETags, ranges, HEAD."""

    body: bytes = b""
    etag: str = '"1"'
    last_modified: str = ""
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    #: Answer with this and nothing else; `statuses` are for the first requests, one each.
    status: int = 200
    statuses: list[int] = field(default_factory=list)
    redirect: str = ""
    ranges: bool = True
    head: bool = True
    #: Break the connection after so many bytes of an answer; `cuts` are for the first answers, one each.
    cut: int | None = None
    cuts: list[int] = field(default_factory=list)
    #: Send so many bytes, then nothing more while the server runs.
    stall: int | None = None
    #: Announce another length than the body has; None announces the right one, -1 none at all.
    length: int | None = None
    #: Answer a range with another range than the one that was asked for, or as one of a file of another size.
    shift: int = 0
    total: int | None = None
    #: Bytes that are sent after the body, whatever was announced.
    extra: bytes = b""
    #: Give at most so many bytes of a range in one answer.
    most: int | None = None
    chunked: bool = False
    #: Wait so long before an answer, and after each 64 KiB of it. Seconds.
    wait: float = 0.0
    pause: float = 0.0
    #: Send nothing, not even a header.
    silent: bool = False
    #: Send one header after another, without an end.
    trickle: bool = False
    #: Send one byte, wait so long, send the next. Seconds.
    drip: float = 0.0
    #: More requests at a time than this are answered with 429.
    at_once: int | None = None
    #: What the first requests for the file get instead of this page, one each; a HEAD is answered as the next one is.
    turns: list["Page"] = field(default_factory=list)
    #: Close the connection after each answer.
    close: bool = False


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]


class Server:
    """`pages` maps paths to what they answer; `seen` are the requests so far.

    `on_the_line` is how many bytes of an answer are sent at a time, and may wait in a socket of ours, as far as the
    system can do that; 0 leaves that to the system.
    """

    def __init__(self, *, tls: bool = False, on_the_line: int = 0) -> None:
        self.scheme = "https" if tls else "http"
        self.pages: dict[str, Page] = {}
        self.seen: list[Seen] = []
        #: Bytes of bodies sent so far, by path. What is on the line counts as sent.
        self.sent: Counter[str] = Counter()
        #: Requests that are being answered, by path, and the most there were at a time.
        self.busy: Counter[str] = Counter()
        self.busiest: Counter[str] = Counter()
        #: How much later it is by the clock of the server. Seconds.
        self.clock = 0.0
        #: Connections that were made.
        self.connections = 0
        self.on_the_line = on_the_line
        self.lock = threading.Lock()
        self.over = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("key.pem"))
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port: int = self._http.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}{path}"

    def gives(self, path: str, body: bytes = b"", **how: object) -> str:
        """Let a path answer so; returns its URL."""
        self.pages[path] = Page(body, **how)  # type: ignore[arg-type]
        return self.url(path)

    def asked(self, path: str, method: str = "GET") -> list[Seen]:
        return [request for request in self.seen if (request.path, request.method) == (path, method)]

    def close(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


@contextmanager
def running(*, tls: bool = False, on_the_line: int = 0) -> Iterator[Server]:
    server = Server(tls=tls, on_the_line=on_the_line)
    try:
        yield server
    finally:
        server.close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"console": server})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    console: Server

    def setup(self) -> None:
        super().setup()
        if self.console.on_the_line:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.console.on_the_line)
        with self.console.lock:
            self.console.connections += 1

    def handle(self) -> None:
        # A client that was killed between two requests.
        with suppress(ConnectionResetError):
            super().handle()

    def do_GET(self) -> None:
        self.console.seen.append(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        path = self.path.partition("?")[0]
        page = self.console.pages.get(path, Page(status=404))
        if page.turns:
            page = page.turns.pop(0) if self.command == "GET" else page.turns[0]
        self.close_connection = self.close_connection or page.close
        with self.console.lock:
            self.console.busy[path] += 1
            crowded = page.at_once is not None and self.console.busy[path] > page.at_once
            self.console.busiest[path] = max(self.console.busiest[path], self.console.busy[path])
        try:
            self.console.over.wait(page.wait)
            self._plain(429) if crowded else self._answer(page)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.console.lock:
                self.console.busy[path] -= 1

    do_HEAD = do_GET

    def _answer(self, page: Page) -> None:
        if page.silent or page.trickle:
            self.close_connection = True
            self._trickle() if page.trickle else self.console.over.wait(30)
            return
        if self.command == "HEAD" and not page.head:
            self._plain(405)
            return
        if page.redirect:
            self._plain(302, Location=page.redirect)
            return
        status = page.statuses.pop(0) if page.statuses and self.command == "GET" else page.status
        if status != 200:
            self._plain(status, **page.headers)
        elif page.etag and self.headers.get("If-None-Match") == page.etag:
            self._plain(304)
        else:
            self._file(page)

    def _plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, page: Page) -> None:
        start, stop = self._range(page)
        size = len(page.body)
        if start is not None and start >= size:
            self._plain(416, **{"Content-Range": f"bytes */{size}", "ETag": page.etag})
            return
        begin = 0 if start is None else start + page.shift
        stop = size if stop is None else min(size, stop + page.shift)
        body = page.body[begin : stop if page.most is None or start is None else min(stop, begin + page.most)]
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{page.total or size}")
        self._headers(page, len(body))
        if self.command != "HEAD":
            self._body(page, body)

    def _range(self, page: Page) -> tuple[int | None, int | None]:
        """The first byte that was asked for and the one behind the last; None for the whole file, and for its end."""
        asked = self.headers.get("Range", "")
        if not page.ranges or not asked:
            return None, None
        if self.headers.get("If-Range") not in {None, page.etag, page.last_modified}:
            return None, None
        start, _, last = asked.removeprefix("bytes=").partition("-")
        return int(start), int(last) + 1 if last else None

    def _headers(self, page: Page, length: int) -> None:
        self.send_header("Content-Type", page.content_type)
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.last_modified:
            self.send_header("Last-Modified", page.last_modified)
        if page.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif page.length != -1:
            self.send_header("Content-Length", str(length if page.length is None else page.length))
        self.close_connection = self.close_connection or (page.length is not None and not page.chunked)
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, page: Page, body: bytes) -> None:
        cut = page.cuts.pop(0) if page.cuts else page.cut
        self.close_connection = self.close_connection or cut is not None or page.stall is not None
        for limit in (cut, page.stall):
            body = body if limit is None else body[:limit]
        body += page.extra
        if page.chunked:
            for at in range(0, len(body), 4000):
                piece = body[at : at + 4000]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self._count(piece)
            if cut is None and page.stall is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self._pieces(page, body)
        self.wfile.flush()
        if page.stall is not None:
            self.console.over.wait(30)

    def _pieces(self, page: Page, body: bytes) -> None:
        fine = self.console.on_the_line
        size = 1 if page.drip else fine or (_PIECE if page.pause else len(body) or 1)
        pause = page.pause * min(1.0, size / _PIECE) or page.drip
        for at in range(0, len(body), size):
            piece = body[at : at + size]
            if fine:
                # Counted first: nobody can say how much of it is taken when the line breaks meanwhile.
                self._count(piece)
            self.wfile.write(piece)
            if not fine:
                self._count(piece)
            self.console.over.wait(pause)

    def _count(self, piece: bytes) -> None:
        with self.console.lock:
            self.console.sent[self.path.partition("?")[0]] += len(piece)

    def _trickle(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        number = 0
        while not self.console.over.wait(0.05):
            number += 1
            self.wfile.write(f"X-{number}: more\r\n".encode())

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.console.clock)

    def log_message(self, *_: object) -> None:
        pass
