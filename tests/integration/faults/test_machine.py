"""Rights and limits of this machine: named, nothing lost."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as console

from gallery.states import State
from tests.fakes.http_server import Server
from tests.fakes.nobody import as_nobody
from tests.fakes.two_files import LARGE, TwoFiles
from tests.fakes.workers import ASK, RUN, child, described

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 1 << 20


def test_a_models_folder_that_belongs_to_another_user_is_named(two: TwoFiles, models_path: Path) -> None:
    two.install_earlier()
    before = two.visible()
    two.offer()
    two.ask()
    run_folder = console.DATA / "run"
    run_folder.chmod(0o777)
    (run_folder / "models-folder.lock").chmod(0o666)
    with as_nobody(console.DATA, models_path):
        two.run()
    assert (two.job.state, two.job.cause) == (State.FAILED, "local_io"), two.job.error
    assert two.job.error == f"The models folder {models_path} cannot be written to: Permission denied."
    assert two.job.error in two.page()
    assert "Check the permissions" in two.page()
    assert two.visible() == before
    two.ask_again()
    two.run()
    two.assert_installed()


def test_a_data_folder_that_cannot_be_written_to_is_named(two: TwoFiles, settings: Any, tmp_path: Path) -> None:
    two.offer()
    two.ask()
    settings.DATA = tmp_path / "data"
    settings.DATA.mkdir()
    (settings.DATA / "run").write_bytes(b"a file where the folder should be")
    two.run()
    assert (two.job.state, two.job.cause) == (State.FAILED, "local_io"), two.job.error
    assert f"The folder {settings.DATA}/run cannot be written to" in two.page()
    assert two.visible() == {}
    (settings.DATA / "run").unlink()
    two.ask_again()
    two.run()
    two.assert_installed()


def test_a_limit_on_the_size_of_files_is_named_and_the_bytes_are_kept(data: Path, server: Server) -> None:
    """Another one than a full disk: no room helps."""
    body = LARGE * 4
    job = child(data, ASK, described(server, body, "limited"), "limited").strip()
    said = child(data, RUN, job, str(6 << 20), "").splitlines()[-1]
    assert said == f"failed|local_io|The models folder {data}/models cannot be written to: File too large.|1"
    assert [path.name for path in (data / "models").iterdir()] == [".ingest"]
    assert sum(path.stat().st_blocks * 512 for path in (data / "models").glob(".ingest/*/*.part")) > MIB
    retry = "from gallery.models import Job; from gallery.services import jobs\n"
    child(data, f"{retry}assert jobs.retry(Job.objects.get(pk=sys.argv[1]), None)", job)
    assert child(data, RUN, job, "", "").splitlines()[-1].startswith("done||")
    assert (data / "models/limited.gguf").read_bytes() == body
