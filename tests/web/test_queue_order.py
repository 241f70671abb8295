"""The queue of long jobs: its order, who may begin, and how people change it."""

import pytest
from django.contrib.auth import get_user_model

from gallery.models import Job
from gallery.services import jobs, limits, queue, turns
from gallery.services.turns import Step
from gallery.states import Kind, State

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def person():
    return get_user_model().objects.create_user("ada", password="a long password")


def line(*names):
    return [jobs.create(Kind.INSTALL, name, {}, None)[0] for name in names]


def order():
    return [job.subject for job in Job.objects.in_line()]


def test_long_jobs_go_in_the_order_they_were_asked_for_and_short_ones_at_once():
    first, second, third = line("a", "b", "c")
    short, _ = jobs.create(Kind.REFRESH, "phi", {}, None)
    assert [turns.is_its_turn(job, 2) for job in (first, second, third, short)] == [True, True, False, True]
    Job.objects.filter(pk=first.pk).update(state=State.DOWNLOADING)
    assert turns.due(2) == [second.pk]
    assert turns.due(3) == [second.pk, third.pk]


def test_a_smaller_limit_than_are_at_work_begins_nothing():
    Job.objects.filter(pk__in=[job.pk for job in line("a", "b", "c")]).update(state=State.DOWNLOADING)
    line("d")
    assert turns.due(1) == []


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("c", Step.UP, "acbd"),
        ("d", Step.FRONT, "dabc"),
        ("a", Step.DOWN, "bacd"),
        ("a", Step.UP, None),
        ("a", Step.FRONT, None),
        ("d", Step.DOWN, None),
    ],
)
def test_a_job_moves_and_those_to_come_stay_behind(person, name, step, expected):
    asked = {job.subject: job for job in line("a", "b", "c", "d")}
    assert turns.move(asked[name], step, person) is (expected is not None)
    line("e")
    assert "".join(order()) == (expected or "abcd") + "e"
    assert asked[name].events.filter(by="ada").count() == (1 if expected else 0)


def test_those_that_rest_or_wait_for_a_try_keep_their_place_among_those_that_move(person):
    _, b, c = line("a", "b", "c")
    jobs.request_pause(b, person)
    turns.move(c, Step.UP, person)
    assert order() == ["c", "a"]
    b.refresh_from_db()
    jobs.resume(b, person)
    assert order() == ["c", "a", "b"]


def test_a_job_at_work_is_not_moved_and_nothing_moves_before_it(person):
    a, _, c = line("a", "b", "c")
    Job.objects.filter(pk=a.pk).update(state=State.DOWNLOADING)
    assert not turns.move(Job.objects.get(pk=a.pk), Step.DOWN, person)
    assert turns.move(c, Step.FRONT, person)
    assert [job.subject for job in Job.objects.line()] == ["a", "c", "b"]


def test_whose_turn_it_is_follows_the_limits():
    first, second = line("a", "b")
    limits.change(None, at_once=1)
    assert [limits.is_its_turn(job) for job in (first, second)] == [True, False]
    limits.change(None, at_once=2)
    assert [limits.is_its_turn(job) for job in (first, second)] == [True, True]
