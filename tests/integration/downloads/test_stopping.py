"""A download can be ended at any time, and keeps its bytes."""

import time
from pathlib import Path

import pytest

from gallery.downloads.download import download
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy, Timeouts
from tests.fakes.downloads import BIG, BODY, MIB, Stop, fetch, spec, stopped_at
from tests.fakes.http_server import Server


def test_a_stop_ends_the_download_and_keeps_the_bytes(server: Server, models: Path) -> None:
    file = spec(server.gives("/f", BIG), BIG)
    ingest = Ingest(models, "job-1")
    stopped_at(server, ingest, file, 20 * MIB)
    assert 20 * MIB <= ingest.size_of(file) < len(BIG)
    fetch(Ingest(models, "job-1"), file)
    assert server.sent["/f"] == len(BIG)


def test_a_stop_is_heard_during_a_stall(server: Server, models: Path) -> None:
    began = time.monotonic()

    def stop() -> None:
        if time.monotonic() - began > 0.5:
            raise Stop

    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), Timeouts(stall=60))
    file = spec(server.gives("/f", BODY, stall=10))
    with pytest.raises(Stop):
        download(
            [file], Ingest(models, "j"), transport=Downloader(client, Resolver()), stop=stop, on_progress=lambda _: None
        )
    assert time.monotonic() - began < 5


def test_discarding_leaves_no_byte(server: Server, models: Path) -> None:
    ingest = Ingest(models, "job-1")
    stopped_at(server, ingest, spec(server.gives("/f", BODY)), 1000)
    ingest.discard()
    assert list(models.iterdir()) == []
