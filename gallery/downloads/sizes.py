"""How large files are, asked side by side."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from gallery.downloads.errors import Forbidden, ServerFault, TooManyRequests
from gallery.downloads.transport import Transport

#: Servers may refuse to say a size and give the file all the same.
_MAY_STILL_GIVE = (Forbidden, ServerFault, TooManyRequests)
_TICK = 0.1


def sizes(uris: Sequence[str], transport: Transport, at_once: int, tick: Callable[[], None]) -> list[int | None]:
    """Bytes of each source, None where the server does not say. Raises DownloadError when one is not to be had.

    `tick` is called all the while, and may raise to stop.
    """
    pool = ThreadPoolExecutor(max(1, at_once), "size")
    try:
        asked = [pool.submit(_size, uri, transport) for uri in uris]
        for one in asked:
            while not wait([one], _TICK).done:
                tick()
            one.result()
        return [one.result() for one in asked]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _size(uri: str, transport: Transport) -> int | None:
    try:
        return transport.size(uri)
    except _MAY_STILL_GIVE:
        return None
