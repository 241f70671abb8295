"""Repositories of Hugging Face as the settings reach them, kept for a while so that a search asks nobody."""

import time
from collections import OrderedDict
from threading import Lock

from django.conf import settings

from gallery.hub.listing import Hub, Repository
from gallery.hub.references import HUGGING_FACE, Reference, parse
from gallery.services import outside
from localai_admin.lib.net import Client, Policy

#: Between choosing and asking for the plan the list need not be fetched again: so long, in seconds, for so many lists.
KEPT, MOST = 600.0, 8

_kept: OrderedDict[tuple[str, ...], tuple[float, Repository]] = OrderedDict()
_lock = Lock()


def reference(text: str) -> Reference:
    """Raises HubError."""
    return parse(text, endpoint())


def repository(wanted: Reference) -> Repository:
    """The files of a repository and what is known of it, from a listing of the last minutes. Raises HubError."""
    key = (endpoint(), settings.HF_TOKEN, wanted.repo, wanted.revision)
    with _lock:
        at, found = _kept.get(key, (0.0, None))
    if found is None or time.monotonic() - at > KEPT:
        found = _ask(wanted)
        with _lock:
            _kept[key] = time.monotonic(), found
            _kept.move_to_end(key)
            while len(_kept) > MOST:
                _kept.popitem(last=False)
    return found


def forget() -> None:
    with _lock:
        _kept.clear()


def endpoint() -> str:
    said = settings.HF_ENDPOINTS[0].strip().rstrip("/") or HUGGING_FACE
    return said if "://" in said else f"https://{said}"


def _ask(wanted: Reference) -> Repository:
    client = Client(
        Policy(allow_http=settings.ALLOW_HTTP, trusted_hosts=tuple(settings.TRUSTED_HOSTS)), outside.TIMEOUTS
    )
    try:
        hub = Hub(client, endpoint(), settings.HF_TOKEN)
        return outside.ask(lambda: hub.repository(wanted, outside.SECONDS), endpoint())
    finally:
        client.close()
