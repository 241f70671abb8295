"""The page of a plan: what it says, who may see it, and the one button."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gallery.models import Entry, Gallery, Job, Plan
from gallery.services import installs, plans
from gallery.states import Kind, State

HTMX = {"HX-Request": "true"}


@pytest.fixture
def here(tmp_path, settings, models_path):
    """A folder that files may come from."""
    settings.FILE_ROOTS = [tmp_path]
    return tmp_path


def entry_of(here: Any, name: str = "phi", files: int = 2, **data: Any) -> Entry:
    gallery, _ = Gallery.objects.get_or_create(name="own", defaults={"url": "file:///x"})
    named = []
    for number in range(files):
        (here / f"{number}.src").write_bytes(b"x" * 1024 * (number + 1))
        named.append({"filename": f"{name}-{number}.bin", "uri": f"file://{here}/{number}.src"})
    overrides = {"backend": "llama-cpp", "parameters": {"model": f"{name}-0.bin"}}
    data = {"name": name, "license": "mit", "overrides": overrides, "files": named, **data}
    return Entry.objects.create(gallery=gallery, name=name, data=data)


def asked(entry: Entry, person: Any = None, name: str = "") -> Plan:
    return plans.request_plan(installs.wish_for(entry, name), person)


def ready(entry: Entry, person: Any = None, name: str = "") -> Plan:
    plan = asked(entry, person, name)
    plans.make_plan(plan.pk)
    plan.refresh_from_db()
    assert plan.state == Plan.READY, plan.error
    return plan


def text_of(client: Client, plan: Plan, status: int = 200) -> str:
    response = client.get(plan.get_absolute_url())
    assert response.status_code == status
    return response.content.decode()


def confirm(client: Client, plan: Plan) -> Any:
    return client.post(f"/plans/{plan.pk}/confirm/")


def test_one_screen_says_whether_and_at_what_cost(here, as_installer):
    plan = ready(entry_of(here))
    text = text_of(as_installer, plan)
    for part in ("Can be installed", "Install: fetch 3.0 KiB", "To fetch", "phi-1.bin", "2.0 KiB", "Disk after",
                 "Fits", "llama-cpp", "https://spdx.org/licenses/MIT.html", "have no digest", "name: phi"):  # fmt: skip
        assert part in text, part
    assert text.count("Install: fetch") == 1
    assert "data-live" not in text.split('id="plan"')[1].split(">")[0]


def test_installing_leads_to_the_job_and_the_second_time_to_the_same(here, as_installer):
    plan = ready(entry_of(here))
    first, second = confirm(as_installer, plan), confirm(as_installer, plan)
    job = Job.objects.get()
    assert (first.status_code, first.headers["Location"]) == (303, f"/jobs/{job.pk}/")
    assert second.headers["Location"] == first.headers["Location"]
    assert (job.by, job.subject) == ("installer-person", "phi")
    text = text_of(as_installer, plan)
    assert "/confirm/" not in text
    assert f'href="/jobs/{job.pk}/"' in text


def test_while_it_is_worked_out_the_page_shows_what_is_known_and_asks_again(here, as_installer, monkeypatch):
    plan = asked(entry_of(here))
    first = text_of(as_installer, plan)
    assert "Being worked out" in first and 'data-live="1"' in first and "/confirm/" not in first
    assert "seen=working." in first
    seen = f"{plan.get_absolute_url()}?seen=working."
    assert as_installer.get(seen, headers=HTMX).status_code == 204
    plans.make_plan(plan.pk)
    after = as_installer.get(seen, headers=HTMX)
    assert after.status_code == 200
    assert after.content.decode().lstrip().startswith('<div id="plan"')
    assert "Install: fetch" in after.content.decode()


def test_a_poll_without_news_is_one_query(here, as_installer, django_assert_num_queries):
    plan = asked(entry_of(here))
    with django_assert_num_queries(5):  # session, user, two for permissions, and the one
        as_installer.get(f"{plan.get_absolute_url()}?seen=working.", headers=HTMX)


def test_a_plan_of_many_files_takes_as_many_queries_as_one_of_few(here, as_installer, django_assert_max_num_queries):
    plan = ready(entry_of(here, files=35))
    with django_assert_max_num_queries(12):
        text = text_of(as_installer, plan)
    assert "27 more files" in text


def test_a_plan_that_cannot_be_carried_out_has_reasons_in_place_of_the_button(here, as_installer, models_path):
    (models_path / "phi-0.bin").write_bytes(b"another")
    (models_path / "old.yaml").write_text("name: old\nparameters: {model: phi-0.bin}\n")
    plan = ready(entry_of(here))
    text = text_of(as_installer, plan)
    assert "Cannot be installed" in text and "old uses it" in text and "/confirm/" not in text
    response = confirm(as_installer, plan)
    assert (response.status_code, Job.objects.exists()) == (409, False)
    assert "old uses it" in response.content.decode()


def test_a_backend_that_is_missing_is_said_and_does_not_stand_in_the_way(here, as_installer):
    text = text_of(as_installer, ready(entry_of(here, overrides={"backend": "vllm"})))
    assert "Missing" in text and "It can be installed, but not loaded yet." in text and "/confirm/" in text


def test_a_plan_that_failed_says_cause_and_action_and_can_be_tried_again(here, as_installer):
    plan = asked(entry_of(here, url=f"file://{here}/none.yaml"))
    plans.make_plan(plan.pk)
    text = text_of(as_installer, plan)
    assert "There is no file at" in text and "Try again" in text and "/confirm/" not in text
    (here / "none.yaml").write_text("name: phi\nconfig_file: 'backend: llama-cpp'\n")
    assert as_installer.post(f"/plans/{plan.pk}/again/").status_code == 303
    plans.make_plan(plan.pk)
    assert "Can be installed" in text_of(as_installer, plan)


def test_a_plan_nobody_works_on_says_so_after_a_minute(here, as_installer):
    plan = asked(entry_of(here))
    Plan.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    polled = as_installer.get(f"{plan.get_absolute_url()}?seen=working.", headers=HTMX)
    assert "No worker has worked this plan out" in polled.content.decode()
    assert "Try again" in polled.content.decode()


def test_an_old_plan_is_looked_at_again_before_anything_happens(here, as_installer):
    plan = ready(entry_of(here))
    Plan.objects.update(ready_at=timezone.now() - timedelta(hours=2))
    response = as_installer.post(f"/plans/{plan.pk}/confirm/", follow=True)
    assert response.redirect_chain == [(plan.get_absolute_url(), 303)]
    assert "more than an hour old" in response.content.decode()
    assert not Job.objects.exists()


def test_another_name_is_another_plan(here, as_installer):
    plan = ready(entry_of(here))
    response = as_installer.post(f"/plans/{plan.pk}/name/", {"name": "mine"})
    other = Plan.objects.exclude(pk=plan.pk).get()
    assert (response.status_code, response.headers["Location"]) == (303, other.get_absolute_url())
    assert other.request == {"entry": "own@phi", "name": "mine"}


def test_a_described_model_can_be_renamed_too(here, as_installer):
    wish = installs.wish_of({"name": "own", "overrides": {"backend": "llama-cpp"}})
    plan = plans.request_plan(wish, None)
    as_installer.post(f"/plans/{plan.pk}/name/", {"name": "mine"})
    other = Plan.objects.exclude(pk=plan.pk).get()
    assert (other.request["name"], other.request["described"]["name"]) == ("mine", "mine")


@pytest.mark.parametrize(("typed", "status"), [("../evil", 422), ("taken", 409)])
def test_a_name_that_cannot_be_is_refused_beside_the_field_and_kept(here, as_installer, models_path, typed, status):
    (models_path / "taken.yaml").write_text("name: taken\nbackend: mine\n")
    plan = ready(entry_of(here))
    response = as_installer.post(f"/plans/{plan.pk}/name/", {"name": typed})
    text = response.content.decode()
    assert response.status_code == status
    assert 'class="field-error" id="id_name_error"' in text
    assert f'value="{typed}"' in text
    assert Plan.objects.count() == 1


def test_whoever_may_install_sees_the_plans_of_others_and_nobody_else_does(here, as_installer, as_viewer, operator):
    plan = ready(entry_of(here), operator)
    assert "operator-person" in text_of(as_installer, plan)
    text_of(as_viewer, plan, status=403)
    for act in ("confirm", "again", "name"):
        assert as_viewer.post(f"/plans/{plan.pk}/{act}/").status_code == 403
    assert not Job.objects.exists()


def test_a_plan_of_a_model_that_is_being_installed_leads_to_the_job(here, as_installer):
    plan = ready(entry_of(here))
    job = Job.objects.create(kind=Kind.INSTALL, subject="phi", state=State.DOWNLOADING, request={"other": 1})
    text = text_of(as_installer, plan)
    assert f'href="/jobs/{job.pk}/"' in text and "/confirm/" not in text
    assert confirm(as_installer, plan).status_code == 409


def test_a_plan_that_is_not_there_is_not_found(as_installer):
    assert as_installer.get("/plans/00000000-0000-0000-0000-000000000000/").status_code == 404
