"""A full or broken disk is named, and costs no bytes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gallery.downloads import errors
from gallery.downloads.faults import local_faults
from gallery.downloads.partial import bytes_here
from gallery.downloads.plan import check_space
from gallery.downloads.store import Ingest
from tests.fakes.downloads import (
    BODY,
    install,
    spec,
)
from tests.fakes.http_server import Server


def test_what_does_not_fit_is_refused_before_it_is_downloaded(server: Server, models: Path) -> None:
    with pytest.raises(errors.NoSpace) as caught:
        install(models, spec(server.gives("/f", BODY)), reserve=1 << 60)
    assert (caught.value.missing or 0) > 1 << 58
    assert server.asked("/f") == []


def test_the_reserve_is_not_used_up_by_a_file_of_unknown_size(server: Server, models: Path) -> None:
    with pytest.raises(errors.NoSpace):
        install(models, spec(server.gives("/f", BODY, length=-1)), reserve=1 << 60)


def test_space_is_added_up_over_all_files(tmp_path: Path) -> None:
    needs = [(tmp_path, 60), (tmp_path / "not" / "there", 50), (tmp_path, None)]
    check_space(needs, 10, free=lambda _path: 120)
    with pytest.raises(errors.NoSpace) as caught:
        check_space(needs, 11, free=lambda _path: 120)
    assert caught.value.missing == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_how_much_is_missing(number: int) -> None:
    with pytest.raises(errors.NoSpace, match=r"2\.0 KiB") as caught, local_faults("f", 2048):
        raise OSError(number, os.strerror(number))
    assert (caught.value.missing, caught.value.retry) == (2048, False)


def test_a_write_that_comes_back_short_is_named_and_the_bytes_are_kept(server: Server, models: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _FULL, str(models), server.gives("/f", BODY)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert child.stdout.startswith("local_io"), child.stderr
    kept = bytes_here(next(models.glob(".ingest/j/*.part")))
    assert 0 < kept <= 100_000


#: At the limit on the size of files a write first comes back short, then fails, as on a disk that is full.
_FULL = """
import resource, signal, sys
from pathlib import Path
from gallery.downloads.download import download
from gallery.downloads.errors import DownloadError
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from gallery.downloads.schemes.resolver import Resolver
from localai_admin.lib.net import Client, Policy
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    download([FileSpec("f", "", sys.argv[2])], Ingest(Path(sys.argv[1]), "j"),
        transport=Downloader(Client(Policy(trusted_hosts=["127.0.0.1"], proxy="")), Resolver()),
        stop=lambda: None, on_progress=lambda _: None)
except DownloadError as error:
    print(error.cause, error)
"""


def test_a_models_folder_that_cannot_be_written_is_named(models: Path) -> None:
    (models / ".ingest").write_bytes(b"a file where the folder should be")
    with pytest.raises(errors.LocalFault) as caught:
        Ingest(models, "job-1")
    assert caught.value.action
