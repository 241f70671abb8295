"""Servers that want to hold a thread for ever, or answer with numbers that no file can have."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gallery.downloads.errors import DownloadError
from gallery.downloads.schemes.source import Source
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy, TimedOut, Timeouts
from tests.fakes import http_server

HUGE = "9" * 5000
TIMEOUTS = Timeouts(connect=2, header=2, stall=2)


@contextmanager
def answering(*answers: bytes, drip: bytes = b"") -> Iterator[str]:
    """A server whose connections each get the next answer (the last one again), then a byte of `drip` now and then."""
    listener = socket.create_server(("127.0.0.1", 0))
    over, turn = threading.Event(), iter(answers)

    def serve(connection: socket.socket, answer: bytes) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
            for byte in drip:
                if over.wait(0.2):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    def accept() -> None:
        last = b""
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            last = next(turn, last)
            threading.Thread(target=serve, args=(connection, last), daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        # Closing it would leave the thread in its call, to take connections of whoever gets the same number next.
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()


def client() -> Client:
    return Client(Policy(trusted_hosts=("127.0.0.1",)), TIMEOUTS)


def downloader() -> Downloader:
    return Downloader(client(), lambda uri: Source("http", uri, "f.gguf"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize("length", [4000, 1 << 40])
def test_a_redirect_whose_text_drips_holds_nobody_up(length: int) -> None:
    moved = f"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: {length}\r\n\r\n".encode()
    here = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    with answering(moved, here, drip=b"x" * 4000) as url, within(3), client().open(url) as answer:
        assert answer.read(10) == b"ok"


def test_a_chain_of_slow_redirects_ends_with_the_time_for_all_of_it() -> None:
    with http_server.running() as server:
        for number in range(10):
            server.gives(f"/{number}", redirect=f"/{number + 1}", wait=0.4)
        server.gives("/10", b"there")
        with within(2.5), pytest.raises(TimedOut, match="1 s"):
            client().open(server.url("/0"), seconds=1)


@pytest.mark.parametrize(
    "act",
    [
        lambda transport, url: transport.fetch(url, seconds=1),
        lambda transport, url: transport.read(url, 0, 4000, seconds=1),
    ],
    ids=["fetch", "read"],
)
def test_a_body_that_drips_ends_with_the_time_for_all_of_it(act: Callable[[Downloader, str], object]) -> None:
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nConnection: close\r\n\r\n"
    with answering(slow, drip=b"x" * 4000) as url, within(3), pytest.raises(DownloadError, match="within 1 s"):
        act(downloader(), url)


@pytest.mark.parametrize(
    "act",
    [
        lambda transport, url: transport.fetch(url),
        lambda transport, url: transport.size(url),
        lambda transport, url: transport.read(url, 0, 4),
        lambda transport, url: transport.open(url).close(),
        lambda transport, url: transport.open(url, 4, '"1"').close(),
    ],
    ids=["fetch", "size", "read", "open", "resume"],
)
@pytest.mark.parametrize(
    "head",
    [
        f"200 OK\r\nContent-Length: {HUGE}",
        f"200 OK\r\nContent-Length: {2**63}",
        f'206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes 4-7/{HUGE}\r\nContent-Length: 4',
        f'206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes {HUGE}-{HUGE}/*\r\nContent-Length: 4',
        f'206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes 4-7/{2**64}\r\nContent-Length: 4',
        f"302 Found\r\nLocation: /\r\nContent-Length: {HUGE}",
        "200 OK\r\nContent-Length: ²",
        "200 OK\r\nContent-Length: -5",
    ],
)
def test_a_number_that_no_file_can_have_is_a_fault_of_the_server(
    act: Callable[[Downloader, str], object], head: str
) -> None:
    """Or is taken for not known: what comes out fits into the database."""
    with answering(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\nabcd".encode("latin-1")) as url:
        try:
            found = act(downloader(), url)
        except DownloadError:
            return
        assert not isinstance(found, int) or 0 <= found < 2**63
