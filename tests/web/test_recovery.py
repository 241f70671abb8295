"""Nothing stays at work that is not: lost workers, lost messages, bytes that nobody needs."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.utils import timezone

from gallery.downloads import placing
from gallery.downloads.store import Ingest
from gallery.models import Job
from gallery.services import jobs, leftovers, queue, worker
from gallery.states import Kind, State, Wanted
from models.runtime.identity import Identity

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


def a_job(subject="phi", **fields):
    job, _ = jobs.create(Kind.INSTALL, subject, {"name": subject}, None)
    queue.HUEY.flush()
    Job.objects.filter(pk=job.pk).update(**fields)
    job.refresh_from_db()
    return job


def at_work(lease, seconds_ago=1.0, subject="phi", **fields):
    beat = timezone.now() - timedelta(seconds=seconds_ago)
    return a_job(subject, state=State.DOWNLOADING, worker=lease, heartbeat_at=beat, **{"attempt": 1, **fields})


def recovered(at_start=False):
    return jobs.recover(timezone.now(), at_start)


def fresh(job):
    job.refresh_from_db()
    return job


@pytest.fixture
def dead_lease(settings):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = Identity.of(child.pid)
    child.kill()
    child.communicate()
    return f"{settings.NODE}:{identity.pid}:{identity.started:.2f}:abcd"


def test_a_job_whose_heartbeat_stopped_is_queued_again_and_the_event_names_the_worker():
    job = at_work("far:1:2.00:abcd", seconds_ago=31)
    assert recovered() == [job.pk]
    assert (fresh(job).state, job.worker, job.attempt) == (State.QUEUED, "", 1)
    assert job.events.last().why == "its worker far:1:2.00 died while it was downloading"
    assert queue.waiting() == {job.pk}


def test_a_job_with_a_fresh_heartbeat_is_left_alone():
    job = at_work("far:1:2.00:abcd")
    assert recovered() == []
    assert fresh(job).state == State.DOWNLOADING


def test_at_the_start_of_a_worker_jobs_of_its_dead_predecessor_do_not_wait(dead_lease):
    job = at_work(dead_lease)
    assert recovered() == []
    assert recovered(at_start=True) == [job.pk]
    assert fresh(job).state == State.QUEUED


def test_at_the_start_of_a_worker_jobs_of_one_that_lives_are_left_alone():
    job = at_work(worker.new_lease())
    assert recovered(at_start=True) == []
    assert fresh(job).state == State.DOWNLOADING


def test_a_pid_that_another_process_has_now_is_not_the_same_worker(settings):
    job = at_work(f"{settings.NODE}:{os.getpid()}:12345.00:abcd")
    assert recovered(at_start=True) == [job.pk]


def test_a_lease_that_cannot_be_read_is_only_judged_by_its_heartbeat():
    at_work("nonsense")
    assert recovered(at_start=True) == []


def test_a_job_that_kills_its_workers_is_given_up():
    job = at_work("far:1:2.00:abcd", seconds_ago=31, attempt=jobs.DEATHS)
    recovered()
    assert (fresh(job).state, job.cause) == (State.FAILED, "worker died")


def test_half_a_commit_of_a_job_that_is_given_up_is_undone(models_path, monkeypatch):
    (models_path / "phi.yaml").write_text("name: phi\n")
    job = at_work("far:1:2.00:abcd", seconds_ago=31, attempt=jobs.DEATHS)
    Job.objects.filter(pk=job.pk).update(state=State.COMMITTING)
    make = placing._make

    class Killed(BaseException):
        pass

    def half(folder, models, move):
        if move.target == "phi.yaml":
            raise Killed
        make(folder, models, move)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(placing, "_make", half)
        Ingest(models_path, str(job.pk), owned=["phi.yaml"]).commit([], [("phi.tmpl", b"new"), ("phi.yaml", b"new")])
    assert (models_path / "phi.tmpl").exists()
    recovered()
    assert fresh(job).state == State.FAILED
    assert not (models_path / "phi.tmpl").exists()
    assert (models_path / "phi.yaml").read_text() == "name: phi\n"


def test_a_retry_whose_time_has_come_is_queued():
    due = a_job("due", state=State.RETRYING, next_try_at=timezone.now() - timedelta(seconds=1))
    early = a_job("early", state=State.RETRYING, next_try_at=timezone.now() + timedelta(minutes=1))
    assert recovered() == [due.pk]
    assert (fresh(due).state, fresh(early).state) == (State.QUEUED, State.RETRYING)


def test_a_queued_job_that_lost_its_message_gets_another():
    job = a_job(changed_at=timezone.now() - timedelta(seconds=11))
    recovered()
    assert queue.waiting() == {job.pk}
    assert queue.HUEY.pending_count() == 1
    recovered()
    assert queue.HUEY.pending_count() == 1


def test_a_queued_job_that_is_new_is_given_time():
    a_job()
    recovered()
    assert queue.waiting() == set()


def test_a_job_called_off_while_it_changed_hands_ends():
    job = a_job(wanted=Wanted.CANCEL)
    recovered()
    assert fresh(job).state == State.CANCELLED


def test_of_a_lost_job_that_was_called_off_the_bytes_go(models_path):
    job = at_work("far:1:2.00:abcd", seconds_ago=31, wanted=Wanted.CANCEL)
    folder = models_path / ".ingest" / str(job.pk)
    folder.mkdir(parents=True)
    (folder / "some.part").write_bytes(b"x")
    recovered()
    assert fresh(job).state == State.CANCELLED
    assert not folder.exists()


def test_a_worker_puts_only_its_own_jobs_back():
    ours, theirs = at_work(worker.new_lease()), at_work("far:1:2.00:abcd", subject="qwen")
    assert jobs.hand_back(ours.pk, "its worker was stopped")
    assert not jobs.hand_back(theirs.pk, "its worker was stopped")
    assert (fresh(ours).state, ours.attempt, fresh(theirs).state) == (State.QUEUED, 0, State.DOWNLOADING)


@pytest.mark.parametrize(
    ("fields", "goes"),
    [
        ({"state": State.DONE}, True),
        ({"state": State.CANCELLED}, True),
        ({"state": State.FAILED, "dismissed": True}, True),
        ({"state": State.FAILED, "finished_at": timezone.now() - timedelta(days=8)}, True),
        ({"state": State.FAILED, "finished_at": timezone.now()}, False),
        ({"state": State.QUEUED}, False),
        ({"state": State.DOWNLOADING}, False),
    ],
)
def test_bytes_are_kept_as_long_as_a_try_may_need_them(models_path, fields, goes):
    job = a_job(**fields)
    folder = models_path / ".ingest" / str(job.pk)
    folder.mkdir(parents=True)
    leftovers.sweep(timezone.now())
    assert folder.exists() is not goes


def test_the_folder_that_a_worker_left_empty_as_it_died_goes(models_path):
    (models_path / ".ingest").mkdir()
    leftovers.sweep(timezone.now())
    assert not (models_path / ".ingest").exists()


def test_bytes_that_nobody_knows_go_after_a_week(models_path):
    old, new = models_path / ".ingest" / "suspect", models_path / ".ingest" / "unknown"
    old.mkdir(parents=True)
    (old / "bytes").write_bytes(b"x")
    new.mkdir()
    past = (timezone.now() - timedelta(days=8)).timestamp()
    os.utime(old, (past, past))
    leftovers.sweep(timezone.now())
    assert [path.name for path in (models_path / ".ingest").iterdir()] == ["unknown"]
