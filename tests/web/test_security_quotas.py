"""Nobody takes all of the console for themselves, also not by asking on and on; and two at once get one thing."""

import uuid

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from gallery.models import Job, Plan, Revision
from gallery.services import duplicates, plans, queue
from gallery.states import Kind
from team.middleware import share_polls
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

RECIPE = {"overrides": {"parameters": {"model": "x.gguf"}}}


@pytest.fixture(autouse=True)
def empty_queue(models_path) -> None:
    queue.HUEY.flush()


def wish(name: str) -> dict:
    return {"name": name, "described": {"name": name, **RECIPE}}


def test_one_person_holds_a_few_plans_at_a_time(installer: User, administrator: User) -> None:
    for number in range(plans.MOST_OF_ONE):
        plans.request_plan(wish(f"m{number}"), installer)
    with pytest.raises(plans.TooMany, match="being worked out"):
        plans.request_plan(wish("one-more"), installer)
    assert plans.request_plan(wish("m0"), installer).subject == "m0"
    plans.request_plan(wish("another"), administrator)
    Plan.objects.update(state=Plan.READY)
    plans.request_plan(wish("one-more"), installer)


def test_all_together_hold_no_more_plans_than_a_worker_gets_done(administrator: User) -> None:
    Plan.objects.bulk_create(Plan(subject="m", by=f"person-{n}") for n in range(plans.MOST))
    with pytest.raises(plans.TooMany):
        plans.request_plan(wish("one-more"), administrator)
    # A worker that is away holds nobody up for longer than a plan may take.
    Plan.objects.update(created_at=timezone.now() - 2 * plans.LOST)
    plans.request_plan(wish("one-more"), administrator)


def test_too_many_plans_are_said_beside_what_was_typed(as_installer: Client, installer: User) -> None:
    Plan.objects.bulk_create(Plan(subject="m", by=installer.username) for _ in range(plans.MOST_OF_ONE))
    answer = as_installer.post("/import/text/", {"text": "name: m\nbackend: llama-cpp\nparameters:\n  model: x.gguf\n"})
    assert answer.status_code == 422
    assert "Try again in a moment" in answer.content.decode()


def test_a_plan_that_is_worked_out_is_not_worked_out_twice(as_installer: Client) -> None:
    plan = plans.request_plan(wish("m"), None)
    queue.HUEY.flush()
    for _ in range(20):
        assert as_installer.post(f"/plans/{plan.pk}/again/").status_code == 303
    assert len(queue.HUEY) == 0
    Plan.objects.update(state=Plan.FAILED)
    for _ in range(20):
        as_installer.post(f"/plans/{plan.pk}/again/")
    assert len(queue.HUEY) == 1


def test_confirmed_twice_it_is_one_job(as_installer: Client) -> None:
    plan = plans.request_plan(wish("m"), None)
    Plan.objects.update(state=Plan.READY, ready_at=timezone.now(), data={"refusals": []})
    first, second = (as_installer.post(f"/plans/{plan.pk}/confirm/") for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert Job.objects.count() == 1


def test_two_searches_for_duplicates_are_one(as_installer: Client) -> None:
    for _ in range(5):
        as_installer.post("/disk/duplicates/scan/")
    assert Job.objects.filter(kind=Kind.SCAN, subject=duplicates.SUBJECT).count() == 1


def test_what_was_forgotten_is_not_brought_back(as_installer: Client, models_path) -> None:
    Revision.objects.create(name="m", number=1, is_current=False, kept_in=".previous/m/1", kept_bytes=1)
    (models_path / ".previous/m/1").mkdir(parents=True)
    (models_path / ".previous/m/1/x").write_bytes(b"x")
    assert as_installer.post("/gallery/revisions/m/1/forget/").status_code == 303
    as_installer.post("/gallery/revisions/m/1/forget/")
    as_installer.post("/gallery/revisions/m/1/back/")
    assert not Job.objects.exists()


def test_a_stranger_does_not_slow_down_the_pages_of_others(rf) -> None:
    from django.http import HttpResponseRedirect

    middleware = share_polls(lambda _: HttpResponseRedirect("/sign-in/"))
    for number in range(2000):
        request = rf.get(f"/jobs/{number}/", {"v": "x"}, headers={"HX-Request": "true"})
        request.COOKIES["sessionid"] = str(uuid.uuid4())
        middleware(request)
    assert middleware.polls.pace(2) == 2


# --- Groups of one's own ----------------------------------------------------------------------------------------------


@pytest.fixture
def holding():
    def client(*codenames: str) -> Client:
        user = User.objects.create_user("composed", password="correct horse battery")
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return signed_in(user)

    return client


def test_who_may_not_import_does_not_carry_out_the_import_of_another(holding) -> None:
    plan = plans.request_plan(wish("m"), None)
    Plan.objects.update(state=Plan.READY, ready_at=timezone.now(), data={"refusals": []})
    client = holding("install_model")
    assert client.post(f"/plans/{plan.pk}/confirm/").status_code == 403
    assert client.post(f"/plans/{plan.pk}/name/", {"name": "other"}).status_code == 403
    assert not Job.objects.exists()


def test_who_may_not_install_does_not_apply_a_list(holding) -> None:
    assert holding("import_model").post("/import/list/", {"text": '[{"id": "x"}]'}).status_code == 403


def test_who_may_delete_models_does_not_call_off_the_jobs_of_others(holding) -> None:
    job = Job.objects.create(kind=Kind.INSTALL, subject="m", request={})
    assert holding("delete_model").post("/disk/downloads/discard/", {"name": str(job.pk)}).status_code == 403
    job.refresh_from_db()
    assert job.wanted == "run"
