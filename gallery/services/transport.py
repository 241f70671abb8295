"""The connections of galleries and installs, as the settings allow them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from django.conf import settings
from django.db.models import Q

from gallery.downloads.errors import DownloadError, from_net
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.schemes.source import Source
from gallery.downloads.transport import Downloader
from gallery.models import Gallery
from localai_admin.lib.net import Client, NetError, Origin, Policy, Timeouts, origin_of

_PATIENT = Timeouts()


@contextmanager
def downloader(gallery: str = "", timeouts: Timeouts = _PATIENT) -> Iterator[Downloader]:
    """Opens addresses for as long as the block lasts.

    What is on the host of a gallery that has request headers gets them: its index, its recipes and its files. Of
    several galleries on one host those of `gallery` count, else those of the first one.
    """
    client = _client(timeouts)
    try:
        resolved = resolver(client)
        yield Downloader(client, _with_headers(resolved, _headers_by_origin(gallery)), resolved.expand)
    finally:
        client.close()


def resolver(client: Client | None = None) -> Resolver:
    """What an address means under these settings. Without a client, registries are not asked what theirs mean."""
    chosen = Settings(settings.HF_ENDPOINTS, settings.HF_TOKEN, tuple(settings.FILE_ROOTS), settings.DATA.resolve())
    return Resolver(chosen, client, settings.REGISTRY_AUTH)


def refuse(uri: str) -> None:
    """Raise DownloadError for an address that would be refused, as far as that is known without asking anybody."""
    source = resolver()(uri)
    if source.kind != "http":
        return
    client = _client()
    try:
        client.check(source.location)
    except NetError as error:
        raise from_net(error) from None
    finally:
        client.close()


def origin(uri: str) -> Origin | None:
    """Who would get the headers of a gallery at this address; None for a file, and for what is no address."""
    try:
        source = resolver()(uri)
    except DownloadError:
        return None
    return origin_of(source.location) if source.kind == "http" else None


def _client(timeouts: Timeouts = _PATIENT) -> Client:
    return Client(Policy(allow_http=settings.ALLOW_HTTP, trusted_hosts=tuple(settings.TRUSTED_HOSTS)), timeouts)


def _headers_by_origin(first: str) -> dict[Origin, Mapping[str, str]]:
    used = Gallery.objects.filter(Q(enabled=True, named=True) | Q(name=first))
    private = used.exclude(headers={}).order_by("position", "name")
    found: dict[Origin, Mapping[str, str]] = {}
    for gallery in sorted(private, key=lambda gallery: gallery.name != first):
        if (home := origin(gallery.url)) is not None:
            found.setdefault(home, gallery.headers)
    return found


def _with_headers(
    resolved: Callable[[str], Source], headers: Mapping[Origin, Mapping[str, str]]
) -> Callable[[str], Source]:
    def with_headers(uri: str) -> Source:
        source = resolved(uri)
        home = origin_of(source.location) if headers and source.kind == "http" else None
        own = headers.get(home) if home else None
        return replace(source, credentials={**source.credentials, **own}) if own else source

    return with_headers
