"""Deleting a model: it is shut down first, and only what nobody else uses goes."""

from threading import Event, Thread

import pytest
from django.db import connection

from gallery.models import Job
from gallery.services import deletions, queue, running
from gallery.services.errors import NoSuchModelHere
from gallery.states import State
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


def test_a_running_model_is_shut_down_before_its_files_go(phi, administrator):
    instance = Instance.objects.create(name="phi", state=InstanceState.READY, desired=Desired.RUNNING)
    seen, over = [], Event()

    def agent():
        while not over.wait(0.02):
            if Instance.objects.filter(pk=instance.pk, desired=Desired.STOPPED).exists():
                seen.append(names(phi))
                Instance.objects.filter(pk=instance.pk).update(state=InstanceState.STOPPED)
                break
        connection.close()

    thread = Thread(target=agent)
    thread.start()
    job = delete(by=administrator)
    over.set()
    thread.join(5)
    assert job.state == State.DONE
    assert "phi.gguf" in seen[0]
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
