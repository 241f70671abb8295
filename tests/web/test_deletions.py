"""Deleting a model: it is shut down first, and only what nobody else uses goes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gallery.models import Job
from gallery.services import deletions, jobs, queue, running
from gallery.services.errors import NoSuchModelHere
from gallery.states import State
from models import services
from models.models import Instance
from models.states import Desired
from models.states import State as InstanceState

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def phi(models_path):
    (models_path / "phi.gguf").write_bytes(b"x" * 1000)
    (models_path / "shared.gguf").write_bytes(b"y" * 50)
    (models_path / "phi.yaml").write_text("name: phi\nmmproj: shared.gguf\nparameters: {model: phi.gguf}\n")
    (models_path / "other.yaml").write_text("name: other\nparameters: {model: shared.gguf}\n")
    return models_path


def delete(name="phi", by=None):
    job = deletions.request_delete(name, by)
    running.run(job.pk, deletions.run_delete)
    job.refresh_from_db()
    return job


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_only_this_model_uses_goes_and_what_others_use_stays(phi):
    job = delete()
    assert job.state == State.DONE
    assert names(phi) == ["other.yaml", "shared.gguf"]
    assert job.message.startswith("phi is deleted: 2 files")
    assert "1 shared" in job.message


def test_the_job_names_the_files_that_went(phi, as_administrator):
    job = delete()
    assert {(file.filename, file.status) for file in job.files.all()} == {
        ("phi.yaml", "deleted"),
        ("phi.gguf", "deleted"),
    }
    page = as_administrator.get(job.get_absolute_url()).content.decode()
    assert "phi.gguf" in page
    assert "no digest to check" not in page


def test_a_deletion_that_was_broken_off_after_the_configuration_went_takes_the_rest(phi, monkeypatch):
    job = deletions.request_delete("phi", None)

    class Killed(BaseException):
        pass

    def half(preview, models_path):
        (models_path / preview.files[0][0]).unlink()
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(deletions, "delete_files", half)
        running.run(job.pk, deletions.run_delete)
    assert names(phi) == ["other.yaml", "phi.gguf", "shared.gguf"]
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED)
    running.run(job.pk, deletions.run_delete)
    job.refresh_from_db()
    assert (job.state, names(phi)) == (State.DONE, ["other.yaml", "shared.gguf"])


def test_a_model_that_is_not_here_is_refused_in_a_sentence(models_path):
    with pytest.raises(NoSuchModelHere, match="no model"):
        deletions.request_delete("phi", None)
    assert not Job.objects.exists()


def test_a_second_try_of_a_deletion_that_was_done_ends_well(phi):
    job = deletions.request_delete("phi", None)
    for file in ("phi.yaml", "phi.gguf"):
        (phi / file).unlink()
    running.run(job.pk, deletions.run_delete)
    job.refresh_from_db()
    assert job.state == State.DONE


def test_a_running_model_is_shut_down_before_its_files_go(phi, administrator, monkeypatch):
    instance = Instance.objects.create(name="phi", state=InstanceState.READY, desired=Desired.RUNNING)
    seen = []
    wait_stopped = services.wait_stopped

    def agent_stops_it_meanwhile(waited_for, *args):
        """On this thread: two of them do not wait for each other in the tests' database, one just fails."""
        seen.extend(names(phi))
        wished = Instance.objects.filter(pk=instance.pk, desired=Desired.STOPPED)
        assert wished.update(state=InstanceState.STOPPED)
        return wait_stopped(waited_for, *args)

    monkeypatch.setattr(services, "wait_stopped", agent_stops_it_meanwhile)
    job = delete(by=administrator)
    assert job.state == State.DONE
    assert "phi.gguf" in seen
    assert Instance.objects.get().desired_by == administrator.username


def test_a_model_that_does_not_stop_keeps_its_files_and_is_tried_again(phi, settings, monkeypatch):
    settings.BACKEND_STOP_SECONDS = 0
    monkeypatch.setattr(deletions, "MARGIN", 0.1)
    Instance.objects.create(name="phi", state=InstanceState.READY, desired=Desired.RUNNING)
    job = delete()
    assert (job.state, job.cause) == (State.RETRYING, "model busy")
    assert "phi.gguf" in names(phi)


def test_deleting_an_alias_leaves_the_model_it_stands_for_running(phi):
    (phi / "nick.yaml").write_text("name: nick\nalias: phi\n")
    instance = Instance.objects.create(name="phi", state=InstanceState.READY, desired=Desired.RUNNING)
    assert delete("nick").state == State.DONE
    instance.refresh_from_db()
    assert instance.desired == Desired.RUNNING
    assert "phi.yaml" in names(phi)


@contextmanager
def unremovable(path: Path) -> Iterator[None]:
    """For root a file that is immutable, for anybody else one in a folder without the right to write."""
    root = os.geteuid() == 0
    if not root:
        path.parent.chmod(0o500)
    elif subprocess.run(["chattr", "+i", path], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no immutable files: run it as somebody else than root")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True) if root else path.parent.chmod(0o700)


def test_a_deletion_that_fails_in_the_middle_hides_the_model_and_a_second_try_finishes_it(phi):
    for name in ("phi/a.bin", "phi/b.bin", "phi/c.bin"):
        (phi / name).parent.mkdir(exist_ok=True)
        (phi / name).write_bytes(b"x")
    (phi / "phi.yaml").write_text(
        "name: phi\nparameters: {model: phi.gguf}\n"
        "download_files: [{filename: phi/a.bin}, {filename: phi/b.bin}, {filename: phi/c.bin}]\n"
    )
    with unremovable(phi / "phi/b.bin"):
        job = delete()
        assert (job.state, job.cause) == (State.FAILED, "cannot delete")
        assert "b.bin cannot be deleted" in job.error
        assert "phi.yaml" not in names(phi), "it is not listed any more"
        assert (phi / "phi/c.bin").exists()
    assert jobs.retry(job, None)
    running.run(job.pk, deletions.run_delete)
    job.refresh_from_db()
    assert job.state == State.DONE, job.error
    assert names(phi) == ["other.yaml", "shared.gguf"]


def test_a_model_that_others_are_made_of_says_so_first(phi, as_administrator):
    (phi / "voice.yaml").write_text("name: voice\npipeline: {llm: phi, tts: piper}\n")
    (phi / "nick.yaml").write_text("name: nick\nalias: phi\n")
    page = as_administrator.get("/gallery/delete/phi/").content.decode()
    assert "nick, voice need phi and will not work without it." in page


def test_a_loose_file_that_a_pipeline_needs_stays(phi):
    (phi / "loose.gguf").write_bytes(b"x")
    (phi / "voice.yaml").write_text("name: voice\npipeline: {llm: loose.gguf}\n")
    job = delete("loose.gguf")
    assert "1 shared" in job.message
    assert (phi / "loose.gguf").exists()
