"""Clocks that are set, here or at the server: what counts goes by another one."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime

import pytest
from django.conf import settings as console
from django.contrib.auth.models import User
from django.utils import timezone

from gallery.models import Job
from gallery.services import jobs, queue
from gallery.services.running import JobRun
from gallery.states import State
from tests.fakes.two_files import LARGE, TwoFiles, at_progress

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture
def clock(two: TwoFiles, administrator: User, monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the clock on the wall, for everybody who asks it through Django or through time.time."""
    real_now = timezone.now

    def set_clock(jump: timedelta) -> None:
        monkeypatch.setattr("django.utils.timezone.now", lambda: real_now() + jump)
        monkeypatch.setattr("time.time", lambda: real_now().timestamp() + jump.total_seconds())
        # A session does not last that long.
        two.client.force_login(administrator, backend=console.AUTHENTICATION_BACKENDS[-1])

    return set_clock


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forwards", "backwards"])
def test_a_clock_that_is_set_during_a_download_changes_nothing(
    two: TwoFiles, clock: Callable[[timedelta], None], jump: timedelta
) -> None:
    two.install_earlier()
    two.offer(LARGE, pause=0.05)
    two.ask()
    seen: list[str] = []

    def set_clock() -> None:
        clock(jump)
        seen.append(two.page())

    two.run(at_progress(set_clock, beyond=200_000))
    assert "Downloading" in seen[0]
    two.assert_installed()
    assert two.job.attempt == 1


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forwards", "backwards"])
def test_a_job_that_waits_is_not_forgotten_when_the_clock_is_set(
    two: TwoFiles, clock: Callable[[timedelta], None], jump: timedelta
) -> None:
    two.offer()
    two.suffer(status=503)
    two.ask()
    queue.HUEY.flush()
    two.run()
    assert two.job.state == State.RETRYING
    queue.wake(two.job.pk, 8)
    clock(jump)
    assert two.job.pk in jobs.recover(timezone.now())
    two.job.refresh_from_db()
    assert two.job.state == State.QUEUED
    # A message for the time before the clock was set would come a day late.
    now = timezone.now().replace(tzinfo=None)
    due = [task for task in queue.HUEY.pending() if task.eta is None or task.eta <= now]
    assert two.job.pk in map(queue.job_of, due)
    two.suffer()
    two.run()
    two.assert_installed()


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forwards", "backwards"])
def test_a_worker_that_died_is_found_although_the_clock_was_set(
    two: TwoFiles, clock: Callable[[timedelta], None], jump: timedelta
) -> None:
    two.offer()
    two.ask()
    held = JobRun(Job.objects.get(pk=two.job.pk))
    assert held.claim()
    clock(jump)
    assert two.job.pk in jobs.recover(timezone.now())
    two.run()
    two.assert_installed()


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forwards", "backwards"])
def test_a_job_whose_message_is_lost_is_found_although_the_clock_was_set(
    two: TwoFiles, clock: Callable[[timedelta], None], jump: timedelta
) -> None:
    two.offer()
    two.ask()
    queue.HUEY.flush()
    clock(jump)
    jobs.recover(timezone.now())
    assert two.job.pk in queue.waiting()


@pytest.mark.parametrize("later", [DAY, -DAY], ids=["ahead", "behind"])
def test_a_date_to_wait_for_is_one_of_the_servers_clock(two: TwoFiles, later: timedelta) -> None:
    two.server.clock = later.total_seconds()
    two.offer()
    until = timezone.now() + later + timedelta(seconds=100)
    two.suffer(status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})
    two.ask()
    two.run()
    assert two.job.next_try_at
    assert 90 < (two.job.next_try_at - timezone.now()).total_seconds() <= 101


def test_tries_whose_worker_died_are_not_counted_among_those_that_failed(two: TwoFiles) -> None:
    two.offer()
    two.suffer(status=503)
    two.ask()
    for _ in range(3):
        assert JobRun(Job.objects.get(pk=two.job.pk)).claim()
        two.lose_worker()
    two.run()
    assert "Try 2 of 5 in" in two.page()
