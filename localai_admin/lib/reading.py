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
#: Seconds after which a reader hears that no data has come; one that fills a buffer hears it sooner.
TICK, SHORT_TICK = 1.0, 0.25
#: Fewer bytes than this in all the time of a stall are as good as none: they would never become a file.
LITTLE = 4096


class Silence:
    """How long a server has sent nothing, or next to nothing. Only time that was spent waiting for it counts."""

    def __init__(self, url: str, stall: float) -> None:
        self._url, self._stall = url, stall
        self._seconds, self._count, self._quiet = 0.0, 0, 0.0

    def broken(self, count: int) -> None:
        """So many bytes came."""
        self._count += count
        self._quiet = 0.0
        if self._count >= LITTLE:
            self._seconds, self._count = 0.0, 0

    def lasted(self, seconds: float) -> None:
        """So much longer. Raises Stalled when that is too long altogether."""
        self._seconds += seconds
        self._quiet += seconds
        if self._seconds < self._stall:
            return
        if self._quiet > self._stall / 2:
            raise Stalled(f"{self._url} sent no data for {self._quiet:.0f} s.")
        raise Stalled(f"{self._url} sent only {self._count:,} bytes in {self._seconds:.0f} s.")


class Body:
    """The body of urllib3's `raw` answer. `stall` is how many seconds may pass without any data."""

    def __init__(self, raw: Any, url: str, stall: float) -> None:
        self._raw = raw
        self._url = url
        self._stall = stall
        self._socket: socket.socket | None = getattr(raw, "guarded_socket", None)
        self._chunked = bool(getattr(raw, "chunked", False))
        self._first = True
        self._left = _announced(raw) if self._socket is not None and not self._chunked else None
        self._ahead: int | None = None
        self._silence = Silence(url, stall)
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def receive(self, view: memoryview) -> int | None:
        """Put what comes next into `view`, not more than fits: how many bytes; 0 at the end, None after a moment
        without data. Raises BrokenOff, Stalled.

        Use either this or `chunks`. A body of known length goes from the socket into the view and nowhere else.
        """
        if self._left is None:
            return self._from_pieces(view)
        view = view[: self._left]
        if not view:
            return 0
        count = self._from_buffer(view) or self._from_socket(view)
        if count:
            self._left -= count
            self._silence.broken(count)
            if not self._left:
                self._end()
        return count

    def _from_pieces(self, view: memoryview) -> int | None:
        if self._pieces is None:
            self._pieces = self.chunks()
        if not self._rest:
            piece = next(self._pieces, None)
            if not piece:
                return 0 if piece is None else None
            self._rest = memoryview(piece)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _from_buffer(self, view: memoryview) -> int:
        """What came together with the headers."""
        stream, sock = self._buffered(), self._socket
        if stream is None or sock is None or self._ahead == 0:
            return 0
        try:
            sock.settimeout(0)
            if self._ahead is None:
                self._ahead = len(stream.peek(1))
            count = int(stream.readinto1(view[: self._ahead])) if self._ahead else 0
        except (ssl.SSLWantReadError, BlockingIOError):
            self._ahead = count = 0
        except (OSError, ValueError) as error:
            raise self._broken(error) from None
        self._ahead -= count
        return count

    def _from_socket(self, view: memoryview) -> int | None:
        sock = self._socket
        if sock is None or sock.fileno() < 0:
            raise self._broken("closed")
        while True:
            try:
                return sock.recv_into(view)
            except (ssl.SSLWantReadError, BlockingIOError):
                if not self._came(sock):
                    return None
            except (OSError, ValueError) as error:
                raise self._broken(error) from None

    def _came(self, sock: socket.socket) -> bool:
        """Whether data, or the end, came within a moment. Raises Stalled."""
        poll, began = select.poll(), time.monotonic()
        poll.register(sock, select.POLLIN)
        came = bool(poll.poll(min(SHORT_TICK, self._stall) * 1000))
        self._silence.lasted(time.monotonic() - began)
        return came

    def _end(self) -> None:
        """All of it came, past those who made the connection: tell them, so that it can be used again."""
        if self._socket is not None:
            self._socket.settimeout(self._stall)
        self._raw._fp.close()
        self._raw.release_conn()

    def _broken(self, why: object) -> BrokenOff:
        return BrokenOff(f"The connection to {self._url} broke off: {str(why)[:200] or 'closed'}.")

    def chunks(self) -> Iterator[bytes]:
        """Pieces of at most 1 MiB as they come; an empty one after each second without. Raises BrokenOff, Stalled."""
        while True:
            try:
                if not self._waited(min(TICK, self._stall)):
                    yield b""
                    continue
                piece = self._raw.read1(CHUNK, decode_content=False)
            except (ReadTimeoutError, TimeoutError):
                raise Stalled(f"{self._url} sent no data for {self._stall:.0f} s.") from None
            except (HTTPError, OSError, ValueError) as error:
                raise self._broken(error) from None
            if not piece:
                return
            self._silence.broken(len(piece))
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

    def _waited(self, seconds: float) -> bool:
        """Whether there is something to read by then. Raises Stalled."""
        began = time.monotonic()
        came = self._has_data(seconds)
        self._silence.lasted(time.monotonic() - began)
        return came

    def _has_data(self, seconds: float) -> bool:
        """Whether a read would return at once: with data, or with the end."""
        stream = self._buffered()
        if self._socket is None or stream is None or self._socket.fileno() < 0:
            return True
        if _announced(self._raw) == 0:
            # All of it was read: on a connection that stays open nothing more will come.
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


def byte_count(text: str) -> int | None:
    """Bytes, as a header says them; None for what is no number, or more than any file has."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    return int(text) if int(text) < 1 << 63 else None


def _announced(raw: Any) -> int | None:
    """Bytes of the body by its Content-Length; None without one."""
    length = getattr(raw, "length_remaining", None)
    return length if isinstance(length, int) else None
