"""Reading the body of an answer without ever being stuck in it."""

import select
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

from urllib3.exceptions import HTTPError, ReadTimeoutError

from localai_admin.lib.neterrors import BrokenOff, Stalled, TimedOut, TooLarge

CHUNK = 1 << 20
#: Seconds after which a reader hears that no data has come.
TICK = 1.0


class Body:
    """The body of urllib3's `raw` answer. `stall` is how many seconds may pass without any data."""

    def __init__(self, raw: Any, url: str, stall: float) -> None:
        self._raw = raw
        self._url = url
        self._stall = stall
        self._socket: socket.socket | None = getattr(raw, "guarded_socket", None)
        self._chunked = bool(getattr(raw, "chunked", False))
        self._first = True

    def chunks(self) -> Iterator[bytes]:
        """Pieces of at most 1 MiB as they come; an empty one after each second without. Raises BrokenOff, Stalled."""
        last = time.monotonic()
        while True:
            try:
                if not self._has_data(min(TICK, self._stall)):
                    silent = time.monotonic() - last
                    if silent >= self._stall:
                        raise Stalled(f"{self._url} sent no data for {silent:.0f} s.")
                    yield b""
                    continue
                piece = self._raw.read1(CHUNK, decode_content=False)
            except (ReadTimeoutError, TimeoutError):
                raise Stalled(f"{self._url} sent no data for {self._stall:.0f} s.") from None
            except (HTTPError, OSError, ValueError) as error:
                raise BrokenOff(f"The connection to {self._url} broke off: {str(error)[:200] or 'closed'}.") from None
            if not piece:
                return
            last = time.monotonic()
            yield piece

    def read(self, limit: int, seconds: float, announced: int | None) -> bytes:
        """All of it. `announced` is its Content-Length; a body that is shorter is a BrokenOff."""
        deadline = time.monotonic() + seconds
        whole = bytearray()
        for piece in self.chunks():
            whole += piece
            if len(whole) > limit:
                raise TooLarge(f"{self._url} is larger than {limit:,} bytes.")
            if time.monotonic() > deadline:
                raise TimedOut(f"{self._url} was not read within {seconds:.0f} s.")
        if announced is not None and len(whole) < announced:
            raise BrokenOff(f"{self._url} ended after {len(whole):,} of {announced:,} bytes.")
        return bytes(whole)

    def _has_data(self, seconds: float) -> bool:
        """Whether a read would return at once: with data, or with the end."""
        stream = self._buffered()
        if self._socket is None or stream is None or self._socket.fileno() < 0:
            return True
        # What came together with the headers, or with the length of a chunk, waits in the buffer; later it is empty.
        if (self._first or self._chunked) and self._peek(stream):
            self._first = False
            return True
        self._first = False
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _buffered(self) -> Any:
        """The buffer between http.client and the socket; None once the body has ended."""
        return getattr(getattr(self._raw, "_fp", None), "fp", None)

    def _peek(self, stream: Any) -> bool:
        sock = self._socket
        if sock is None:
            return False
        sock.settimeout(0)
        try:
            # The end of a line may be all that is there: the end of the last chunk, not yet the next one.
            return bool(bytes(stream.peek(1)).strip(b"\r\n" if self._chunked else b""))
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        finally:
            sock.settimeout(self._stall)
