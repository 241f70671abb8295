"""Who may call what, as a table: every address of the console, with the role that it begins at."""

import pytest
from django.test import Client
from django.urls import reverse

from gallery.models import Job, Plan
from models.models import Instance
from tests.conftest import person, signed_in
from tests.web.test_access import ALL, PUBLIC_ROUTES, name_of, sample

pytestmark = pytest.mark.django_db

ROLES = ("viewer", "operator", "installer", "administrator")
ANYBODY, VIEWER, OPERATOR, INSTALLER, ADMINISTRATOR = range(-1, 4)
#: By URL name; what is in none of these lists is for whoever is signed in and may look.
BEGINS_AT = {
    OPERATOR: ("models:load", "models:stop", "monitor:prompt", "monitor:log"),
    INSTALLER: (
        "starter", "gallery:refresh", "gallery:gallery_refresh", "gallery:delete", "gallery:update",
        "gallery:roll_back", "gallery:forget", "gallery:install", "gallery:import", "gallery:import_text",
        "gallery:import_repository", "gallery:import_path", "gallery:import_list", "gallery:plan", "gallery:confirm",
        "gallery:plan_again", "gallery:plan_name", "gallery:disk_unused", "gallery:disk_suspect",
        "gallery:disk_partial", "gallery:disk_revision", "gallery:disk_scan", "gallery:disk_link",
        "gallery:pause_all", "gallery:resume_all", "gallery:cancel", "gallery:pause", "gallery:resume",
        "gallery:move", "gallery:retry", "gallery:dismiss",
    ),
    ADMINISTRATOR: (
        "gallery:gallery_add", "gallery:gallery_edit", "gallery:gallery_move", "gallery:gallery_switch",
        "gallery:gallery_remove",
    ),
}  # fmt: skip
LOOKING = {
    "overview", "strip", "models:index", "models:detail", "monitor:index", "monitor:detail", "monitor:status",
    "gallery:index", "gallery:galleries", "gallery:entry", "gallery:updates", "gallery:revisions", "gallery:disk",
    "gallery:jobs", "gallery:job", "gallery:limits", "team:sessions",
}  # fmt: skip
NAMES = {name_of(pattern): pattern for path, pattern in ALL if path not in PUBLIC_ROUTES}


def begins_at(name: str) -> int:
    return next((role for role, names in BEGINS_AT.items() if name in names), VIEWER)


def test_the_table_names_every_address() -> None:
    listed = {name for names in BEGINS_AT.values() for name in names}
    assert listed | {name for name in NAMES if name in LOOKING} == set(NAMES)
    assert listed <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_role_gets_what_the_table_says_and_no_more(models_path, name: str) -> None:
    arguments = {key: sample(converter) for key, converter in NAMES[name].pattern.converters.items()}
    url = reverse(name, kwargs=arguments)
    for place, role in enumerate(ROLES):
        client = signed_in(person(role))
        for headers in ({}, {"HX-Request": "true"}, {"HX-Request": "true", "HX-Boosted": "true"}):
            answers = [
                client.get(url, {"v": "x"}, headers=headers).status_code,
                client.post(url, headers=headers).status_code,
            ]
            if place < begins_at(name):
                # A method that no view takes is refused before or after: either way nothing happens.
                assert set(answers) <= {403, 405}, f"{role}: {answers}"
                assert 403 in answers
            else:
                assert 403 not in answers or name == "gallery:limits", f"{role}: {answers}"


def test_limits_are_seen_by_many_and_changed_by_few(as_viewer: Client, as_operator: Client) -> None:
    for client in (as_viewer, as_operator):
        assert client.get("/jobs/limits/").status_code == 200
        assert client.post("/jobs/limits/", {"at_once": 1, "connections": 1}).status_code == 403


def test_what_is_refused_changes_nothing(as_viewer: Client, as_operator: Client, models_path) -> None:
    (models_path / "m.yaml").write_text("name: m\n")
    for client in (Client(), as_viewer, as_operator):
        for name in BEGINS_AT[INSTALLER] + BEGINS_AT[ADMINISTRATOR]:
            converters = NAMES[name].pattern.converters
            arguments = {key: "m" if key == "name" else sample(converter) for key, converter in converters.items()}
            client.post(
                reverse(name, kwargs=arguments), {"name": "m.yaml", "text": "[]", "address": "https://x.example/"}
            )
    assert [path.name for path in models_path.iterdir()] == ["m.yaml"]
    assert not Job.objects.exists()
    assert not Plan.objects.exists()
    assert not Instance.objects.exists()


@pytest.mark.parametrize("name", [name for name in NAMES if begins_at(name) > VIEWER])
def test_every_act_needs_the_token_of_its_session(administrator, models_path, name: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(administrator, backend="django.contrib.auth.backends.ModelBackend")
    arguments = {key: sample(converter) for key, converter in NAMES[name].pattern.converters.items()}
    for headers in ({}, {"HX-Request": "true"}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://evil.example"}):
        assert client.post(reverse(name, kwargs=arguments), headers=headers).status_code in {403, 405}
    assert not Job.objects.exists()
