"""A job that is let rest: at once when it waits, when the worker has let go when it is at work; its bytes stay."""

from datetime import timedelta
from threading import Event

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from gallery.models import Job
from gallery.services import jobs, leftovers, queue, running
from gallery.services.errors import JobError
from gallery.states import Kind, State, Wanted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue(models_path):
    queue.HUEY.flush()


@pytest.fixture
def person():
    return get_user_model().objects.create_user("ada", password="a long password")


def an_install(subject="phi", **fields):
    job, _ = jobs.create(Kind.INSTALL, subject, {"name": subject}, None)
    Job.objects.filter(pk=job.pk).update(**fields)
    queue.HUEY.flush()
    return fresh(job)


def fresh(job):
    job.refresh_from_db()
    return job


def bytes_of(job, models_path):
    folder = models_path / ".ingest" / str(job.pk)
    folder.mkdir(parents=True)
    (folder / "some.part").write_bytes(b"x")
    return folder / "some.part"


@pytest.mark.parametrize("state", [State.QUEUED, State.RETRYING])
def test_one_that_waits_rests_at_once_and_says_who_wished_it(person, state):
    job = an_install(state=state, next_try_at=timezone.now() + timedelta(minutes=1))
    assert jobs.request_pause(job, person)
    assert (fresh(job).state, job.wanted, job.message) == (State.PAUSED, Wanted.PAUSE, "Paused by ada")
    assert job.next_try_at is None
    assert [(event.by, event.to_state) for event in job.events.all()][-2:] == [("ada", state), ("ada", State.PAUSED)]


def test_one_at_work_rests_when_the_worker_has_let_go_and_the_try_is_not_counted(person, models_path):
    job = an_install()
    part = bytes_of(job, models_path)

    def work(run):
        run.move(State.DOWNLOADING)
        run.progress(40, 100, final=True)
        assert jobs.request_pause(Job.objects.get(pk=job.pk), person)
        assert fresh(job).state == State.DOWNLOADING and job.is_being_paused
        assert run.stop.wait(1.0), "the worker did not get to know within a second"
        run.check()

    assert running.run(job.pk, work) is None
    assert (fresh(job).state, job.message, job.attempt, job.worker) == (State.PAUSED, "Paused by ada", 0, "")
    assert (job.bytes_done, part.exists()) == (40, True)


def test_the_bytes_that_came_just_before_a_pause_are_told_and_the_work_began_when_it_first_did(person):
    job = an_install()

    def work(run):
        run.move(State.DOWNLOADING)
        run.progress(40, 1000, fetched=40)
        run.progress(44, 1000, fetched=44, files=[running.FileProgress("phi.gguf", 44, 1000, "downloading")])
        assert jobs.request_pause(Job.objects.get(pk=job.pk), person)
        run.stop.wait(1.0)
        run.check()

    running.run(job.pk, work)
    assert (fresh(job).state, job.bytes_done, job.bytes_fetched) == (State.PAUSED, 44, 44)
    began = job.started_at
    assert jobs.resume(job, person)
    running.run(job.pk, lambda run: run.move(State.COMMITTING) or "done")
    assert (fresh(job).state, job.started_at) == (State.DONE, began)


def test_one_that_goes_on_keeps_its_place_and_wakes_a_worker(person):
    first, second = an_install("a"), an_install("b")
    jobs.request_pause(first, person)
    assert jobs.resume(first, person)
    assert (fresh(first).state, first.wanted) == (State.QUEUED, Wanted.RUN)
    assert queue.waiting() == {first.pk}
    assert list(Job.objects.in_line()) == [first, second]
    assert first.events.last().by == "ada"


def test_a_pause_taken_back_before_the_worker_let_go_lets_the_job_go_on(person):
    job = an_install()

    def work(run):
        run.move(State.DOWNLOADING)
        jobs.request_pause(Job.objects.get(pk=job.pk), person)
        run.stop.look()
        assert jobs.resume(Job.objects.get(pk=job.pk), person)
        run.check()

    running.run(job.pk, work)
    assert (fresh(job).state, job.wanted) == (State.QUEUED, Wanted.RUN)
    assert job.pk in queue.waiting()


def test_a_cancel_is_stronger_than_a_pause(models_path):
    job = an_install()
    part = bytes_of(job, models_path)

    def work(run):
        jobs.request_pause(Job.objects.get(pk=job.pk), None)
        run.stop.look()
        jobs.request_cancel(Job.objects.get(pk=job.pk), None)
        run.check()

    running.run(job.pk, work)
    assert fresh(job).state == State.CANCELLED
    assert not part.exists()


def test_a_paused_one_can_be_called_off_and_its_bytes_go(person, models_path):
    job = an_install()
    part = bytes_of(job, models_path)
    jobs.request_pause(job, person)
    assert jobs.request_cancel(fresh(job), person)
    assert fresh(job).state == State.CANCELLED
    assert not part.exists()


def test_a_pause_that_comes_before_the_commit_wins():
    job = an_install()

    def work(run):
        jobs.request_pause(Job.objects.get(pk=job.pk), None)
        run.move(State.COMMITTING)
        raise AssertionError("it went on")

    running.run(job.pk, work)
    assert fresh(job).state == State.PAUSED


def test_a_pause_that_comes_when_files_are_put_in_place_is_refused():
    job = an_install()

    def work(run):
        run.move(State.COMMITTING)
        assert not jobs.request_pause(Job.objects.get(pk=job.pk), None)
        return "done"

    running.run(job.pk, work)
    assert (fresh(job).state, job.wanted) == (State.DONE, Wanted.RUN)


def test_a_pause_while_the_try_fails_is_a_pause(person):
    job = an_install()

    class Flaky(JobError):
        retry = True

    def work(run):
        jobs.request_pause(Job.objects.get(pk=job.pk), person)
        raise Flaky("The line dropped.")

    assert running.run(job.pk, work) is None
    assert fresh(job).state == State.PAUSED


@pytest.mark.parametrize(
    ("kind", "state"), [(Kind.DELETE, State.QUEUED), (Kind.INSTALL, State.PAUSED), (Kind.INSTALL, State.FAILED)]
)
def test_what_cannot_rest_is_refused_and_nothing_is_written(kind, state):
    job, _ = jobs.create(kind, "phi", {}, None)
    Job.objects.filter(pk=job.pk).update(state=state)
    assert not jobs.request_pause(fresh(job), None)
    assert job.events.count() == 1


def test_only_a_paused_one_can_go_on():
    assert not jobs.resume(an_install(), None)


def test_a_worker_that_dies_before_it_let_go_leaves_a_paused_job(person, models_path):
    stale = timezone.now() - timedelta(minutes=1)
    job = an_install(state=State.DOWNLOADING, worker="far:1:2.00:ab", heartbeat_at=stale, attempt=1)
    part = bytes_of(job, models_path)
    assert jobs.request_pause(job, person)
    jobs.recover(timezone.now(), at_start=True)
    assert (fresh(job).state, job.message) == (State.PAUSED, "Paused by ada")
    assert part.exists()


def test_a_worker_that_is_stopped_before_it_let_go_leaves_a_paused_job(person):
    job, stopping = an_install(), Event()

    def work(run):
        jobs.request_pause(Job.objects.get(pk=job.pk), person)
        stopping.set()
        run.check()

    running.run(job.pk, work, stopping)
    assert fresh(job).state == State.PAUSED


def test_a_start_of_everything_leaves_a_paused_job_and_its_bytes_alone(person, models_path):
    job = an_install()
    part = bytes_of(job, models_path)
    jobs.request_pause(job, person)
    queue.HUEY.flush()
    much_later = timezone.now() + timedelta(days=400)
    jobs.recover(much_later, at_start=True)
    leftovers.sweep(much_later)
    assert fresh(job).state == State.PAUSED
    assert part.exists()
    assert queue.waiting() == set()


def test_a_wish_that_came_while_a_job_changed_hands_is_done_at_the_next_look():
    goes_on = an_install("a", state=State.PAUSED, wanted=Wanted.RUN)
    rests = an_install("b", state=State.QUEUED, wanted=Wanted.PAUSE)
    jobs.recover(timezone.now())
    assert (fresh(goes_on).state, fresh(rests).state) == (State.QUEUED, State.PAUSED)


def test_all_can_be_paused_and_go_on_together(person):
    waiting, working = an_install("a"), an_install("b", state=State.DOWNLOADING, worker="far:1:2.00:ab")
    deletion, _ = jobs.create(Kind.DELETE, "c", {}, None)
    assert jobs.pause_all(person) == 2
    assert (fresh(waiting).state, fresh(working).is_being_paused) == (State.PAUSED, True)
    assert fresh(deletion).state == State.QUEUED
    assert jobs.resume_all(person) == 2
    assert (fresh(waiting).state, fresh(working).wanted) == (State.QUEUED, Wanted.RUN)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "phi", "overrides": {"b": 1, "a": 2}}, {"overrides": {"a": 2, "b": 1}, "name": "phi"}),
        ({"name": "phi"}, {"name": " phi ", "overrides": {}, "update": False}),
    ],
)
def test_asking_for_the_same_in_other_words_is_the_same_job(first, second):
    job, _ = jobs.create(Kind.INSTALL, "phi", first, None)
    assert jobs.create(Kind.INSTALL, " phi ", second, None) == (job, False)


@pytest.mark.parametrize("first", [Kind.INSTALL, Kind.DELETE, Kind.ROLLBACK])
@pytest.mark.parametrize("second", [Kind.INSTALL, Kind.DELETE, Kind.ROLLBACK])
def test_of_what_changes_a_model_one_is_under_way_at_a_time(first, second):
    jobs.create(first, "phi", {}, None)
    jobs.create(second, "qwen", {}, None)
    if first != second:
        with pytest.raises(jobs.Conflict, match=f"Another {first}"):
            jobs.create(second, "phi", {}, None)
