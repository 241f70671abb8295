"""The connections of galleries and installs, as the settings allow them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.conf import settings

from gallery.downloads.transport import Downloader
from gallery.downloads.uris import resolve
from localai_admin.lib.net import Client, Policy


@contextmanager
def downloader() -> Iterator[Downloader]:
    """Opens addresses for as long as the block lasts."""
    client = Client(Policy(allow_http=settings.ALLOW_HTTP, trusted_hosts=tuple(settings.TRUSTED_HOSTS)))
    roots = tuple(settings.FILE_ROOTS)
    try:
        yield Downloader(
            client, partial(resolve, hf_endpoint=settings.HF_ENDPOINT, hf_token=settings.HF_TOKEN, file_roots=roots)
        )
    finally:
        client.close()
