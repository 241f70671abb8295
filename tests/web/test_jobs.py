"""Jobs: made once, called off, tried again; and how the end of the work becomes a state."""

from datetime import timedelta
from threading import Event

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.utils import timezone

from gallery import tasks
from gallery.downloads.errors import DownloadError
from gallery.models import Gallery, Job
from gallery.services import jobs, queue, running, turns
from gallery.services.errors import Conflict, JobError
from gallery.services.running import FileProgress, JobRun
from gallery.states import Kind, State, Wanted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def person():
    return get_user_model().objects.create_user("ada", password="a long password")


def new_job(subject="phi", **fields):
    job, _ = jobs.create(Kind.REFRESH, subject, {}, by=None)
    Job.objects.filter(pk=job.pk).update(**fields)
    job.refresh_from_db()
    return job


def state_of(job):
    job.refresh_from_db()
    return job.state


def whys(job):
    return [event.why for event in job.events.all()]


def commit(run):
    run.move(State.COMMITTING)
    return "all done"


class Failing(JobError):
    cause = "test"


class Flaky(JobError):
    cause = "test"
    retry = True


def failing(error):
    def work(run):
        raise error

    return work


def test_a_database_that_does_not_answer_in_time_is_waited_for(caplog):
    job = new_job()
    assert running.run(job.pk, failing(OperationalError("database is locked")))
    assert state_of(job) == State.RETRYING
    assert (job.cause, job.error) == ("database", "The database did not answer: database is locked.")
    assert job.error in caplog.text


def test_a_new_job_is_queued_with_one_event_and_one_message(person):
    job, created = jobs.create(Kind.INSTALL, "phi", {"entry": "localai@phi"}, person)
    assert created
    assert (job.state, job.by, job.request) == (State.QUEUED, "ada", {"entry": "localai@phi"})
    assert [(event.by, event.to_state) for event in job.events.all()] == [("ada", State.QUEUED)]
    assert queue.waiting() == {job.pk}


def test_asking_again_returns_the_job_that_is_under_way(person):
    first, _ = jobs.create(Kind.INSTALL, "phi", {"entry": "localai@phi"}, person)
    again, created = jobs.create(Kind.INSTALL, "phi", {"entry": "localai@phi"}, None)
    assert (again.pk, created) == (first.pk, False)


def test_asking_for_something_else_under_the_same_name_is_a_conflict():
    jobs.create(Kind.INSTALL, "phi", {"entry": "localai@phi"}, None)
    with pytest.raises(Conflict, match="under way"):
        jobs.create(Kind.INSTALL, "phi", {"entry": "other@phi"}, None)


def test_an_install_and_a_deletion_of_one_name_are_never_under_way_together():
    jobs.create(Kind.INSTALL, "phi", {}, None)
    with pytest.raises(Conflict, match="install"):
        jobs.create(Kind.DELETE, "phi", {}, None)


def test_a_job_that_has_ended_makes_room_for_a_new_one():
    first = new_job(state=State.FAILED)
    again, created = jobs.create(Kind.REFRESH, "phi", {}, None)
    assert created
    assert again.pk != first.pk


def test_good_work_ends_done_and_clears_the_error_of_an_earlier_try():
    job = new_job(error="The network was away.", cause="network", action="Wait.")
    assert running.run(job.pk, commit) is None
    assert state_of(job) == State.DONE
    assert (job.error, job.cause, job.action, job.message) == ("", "", "", "all done")
    assert job.started_at
    assert job.finished_at


def test_a_failure_that_a_retry_cannot_help_is_a_sentence_and_an_action():
    job = new_job()
    assert running.run(job.pk, failing(Failing("The digest is wrong.", "Ask the gallery."))) is None
    assert state_of(job) == State.FAILED
    assert (job.cause, job.error, job.action) == ("test", "The digest is wrong.", "Ask the gallery.")


def test_a_failure_that_a_retry_can_help_says_when_the_next_try_is():
    job = new_job()
    delay = running.run(job.pk, failing(Flaky("The line dropped.")))
    assert delay == pytest.approx(8, rel=0.26)
    assert state_of(job) == State.RETRYING
    assert job.message == f"Try 2 of 5 in {delay:.0f} s"
    assert job.next_try_at - timezone.now() <= timedelta(seconds=delay)


def test_a_server_that_says_when_to_come_back_is_believed():
    error = Flaky("Too many requests.")
    error.retry_after = 77.0
    assert running.run(new_job().pk, failing(error)) == 77.0


def test_after_the_fifth_try_it_has_failed():
    job = new_job()
    for _ in range(4):
        assert running.run(job.pk, failing(Flaky("The line dropped.")))
        Job.objects.filter(pk=job.pk).update(next_try_at=timezone.now())
    assert running.run(job.pk, failing(Flaky("The line dropped."))) is None
    assert state_of(job) == State.FAILED


def test_a_try_whose_worker_died_is_not_counted_as_a_failure():
    job = new_job(attempt=7)
    assert running.run(job.pk, failing(Flaky("The line dropped.")))
    assert state_of(job) == State.RETRYING


def test_of_two_workers_who_ask_at_once_whose_turn_it_is_the_second_sees_what_the_first_took():
    """Both have looked before either took anything; only what is decided together with the claim counts."""
    first, second = new_job(kind=Kind.INSTALL, subject="a"), new_job(kind=Kind.INSTALL, subject="b")

    def is_turn(job):
        return turns.is_its_turn(job, 1)

    assert running.JobRun(first).claim(is_turn)
    assert not running.JobRun(second).claim(is_turn)
    assert state_of(second) == State.QUEUED


def test_errors_of_downloads_are_told_in_the_same_way():
    assert issubclass(DownloadError, Exception)
    for name in ("cause", "retry", "retry_after", "action"):
        assert hasattr(DownloadError, name) or name in DownloadError.__init__.__code__.co_varnames


def test_an_unexpected_error_is_named_and_does_not_leave_the_job_at_work():
    job = new_job()
    running.run(job.pk, failing(ZeroDivisionError("division by zero")))
    assert state_of(job) == State.FAILED
    assert (job.cause, job.error) == ("internal", "The console failed at this: ZeroDivisionError: division by zero")


def test_a_waiting_job_is_cancelled_at_once(person):
    job = new_job()
    assert jobs.request_cancel(job, person)
    assert state_of(job) == State.CANCELLED
    assert whys(job)[-2:] == ["cancel requested", "cancelled while it waited"]


def test_a_job_at_work_is_cancelled_when_the_worker_lets_go():
    job = new_job()

    def work(run):
        jobs.request_cancel(Job.objects.get(pk=job.pk), None)
        assert state_of(job) == State.RESOLVING
        assert run.stop.wait(5)
        run.check()

    running.run(job.pk, work)
    assert state_of(job) == State.CANCELLED
    assert whys(job)[-1] == "the worker let go"


def test_a_cancel_that_comes_before_the_commit_wins():
    job = new_job()

    def work(run):
        jobs.request_cancel(Job.objects.get(pk=job.pk), None)
        run.move(State.COMMITTING)
        raise AssertionError("it went on")

    running.run(job.pk, work)
    assert state_of(job) == State.CANCELLED


def test_a_cancel_that_comes_after_the_commit_began_is_refused():
    job = new_job()

    def work(run):
        run.move(State.COMMITTING)
        assert not jobs.request_cancel(Job.objects.get(pk=job.pk), None)
        return "done"

    running.run(job.pk, work)
    assert state_of(job) == State.DONE


def test_a_failed_job_can_be_tried_again_and_keeps_its_error_until_that_went_well(person):
    job = new_job()
    running.run(job.pk, failing(Failing("The digest is wrong.")))
    job.refresh_from_db()
    assert jobs.retry(job, person)
    assert state_of(job) == State.QUEUED
    assert (job.attempt, job.error) == (0, "The digest is wrong.")
    assert job.finished_at is None
    running.run(job.pk, commit)
    assert state_of(job) == State.DONE
    assert job.error == ""


def test_a_cancelled_job_that_is_tried_again_runs():
    job = new_job()
    jobs.request_cancel(job, None)
    assert jobs.retry(job, None)
    assert job.wanted == Wanted.RUN
    running.run(job.pk, commit)
    assert state_of(job) == State.DONE


def test_a_retry_is_refused_while_another_job_has_the_subject():
    job = new_job(state=State.FAILED)
    new_job()
    with pytest.raises(Conflict):
        jobs.retry(job, None)
    assert state_of(job) == State.FAILED


def test_a_job_that_is_done_cannot_be_tried_again():
    assert not jobs.retry(new_job(state=State.DONE), None)


def test_a_dismissed_failure_asks_for_no_attention(person):
    job = new_job(state=State.FAILED)
    assert jobs.dismiss(job, person)
    assert not Job.objects.needs_attention().exists()
    assert not jobs.dismiss(job, person)


def test_of_two_workers_one_gets_the_job():
    job = new_job()
    ours, theirs = JobRun(Job.objects.get(pk=job.pk)), JobRun(Job.objects.get(pk=job.pk))
    assert ours.claim()
    assert not theirs.claim()


def test_a_worker_that_lost_its_job_changes_nothing_any_more():
    job = new_job()

    def work(run):
        Job.objects.filter(pk=job.pk).update(worker="another:1:2:3", message="theirs")
        run.progress(5, 10, final=True)

    running.run(job.pk, work)
    assert state_of(job) == State.RESOLVING
    assert (job.worker, job.message, job.bytes_done) == ("another:1:2:3", "theirs", 0)


def test_a_worker_that_is_told_to_stop_puts_the_job_back_without_counting_the_try():
    job = new_job()
    stopping = Event()

    def work(run):
        stopping.set()
        run.check()

    running.run(job.pk, work, stopping)
    assert state_of(job) == State.QUEUED
    assert (job.attempt, job.worker) == (0, "")
    assert job.pk in queue.waiting()


def test_progress_is_written_for_the_job_and_its_files_and_never_goes_back():
    job = new_job()

    def work(run):
        run.plan([{"filename": "a.gguf", "uri": "https://x.test/a", "size": 100}])
        run.move(State.DOWNLOADING)
        run.progress(60, 100, speed=7.0, files=[FileProgress("a.gguf", 60, 100, "downloading")], final=True)
        run.progress(50, 100, files=[FileProgress("a.gguf", 50, 100, "downloading")], final=True)
        return commit(run)

    running.run(job.pk, work)
    job.refresh_from_db()
    assert (job.bytes_done, job.bytes_total) == (60, 100)
    file = job.files.get()
    assert (file.done, file.size, file.status) == (50, 100, "downloading")


def test_progress_is_written_at_most_every_second_or_percent(django_assert_num_queries):
    run = JobRun(new_job())
    run.claim()
    run.progress(10, 10_000)
    with django_assert_num_queries(0):
        for done in range(11, 60):
            run.progress(done, 10_000)


def test_a_failed_try_is_scheduled_again_for_its_time(models_path):
    gallery = Gallery.objects.create(name="away", url="file:///nowhere/index.yaml", mirrors=["http://127.0.0.1:1/"])
    job, _ = jobs.create(Kind.REFRESH, gallery.name, {"gallery": gallery.pk}, None)
    queue.HUEY.flush()
    tasks.work(job.pk)
    assert state_of(job) == State.RETRYING
    [message] = queue.HUEY.pending()
    assert queue.job_of(message) == job.pk
    assert message.eta


def test_a_message_about_a_job_that_is_gone_is_harmless():
    job = new_job()
    Job.objects.all().delete()
    tasks.work(job.pk)


def test_a_message_that_comes_twice_is_harmless():
    job = new_job(kind=Kind.DELETE)
    tasks.work(job.pk)
    done = state_of(job)
    tasks.work(job.pk)
    assert (state_of(job), job.attempt) == (done, 1)
