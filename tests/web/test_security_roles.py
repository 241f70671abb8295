"""Who sees what in Django's admin, and the table of roles."""

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from gallery.models import Gallery, Job
from gallery.states import Kind
from models.models import Instance
from tests.conftest import signed_in
from tests.web.test_access import ALL

pytestmark = pytest.mark.django_db


# --- Django's admin ---------------------------------------------------------------------------------------------------


def test_the_admin_changes_nothing_of_the_consoles_work(as_administrator: Client) -> None:
    job = Job.objects.create(
        kind=Kind.INSTALL, subject="m", request={"url": "https://me:pass-word@x.example/"}, state="failed"
    )
    gallery = Gallery.objects.create(
        name="x", url="https://me:pass-word@x.example/i.yaml", mirrors=["https://me:pass-word@y.example/"]
    )
    instance = Instance.objects.create(name="m")
    for row in (job, gallery, instance):
        base = f"/django-admin/{row._meta.app_label}/{row._meta.model_name}/"
        assert as_administrator.get(base).status_code == 200
        page = as_administrator.get(f"{base}{row.pk}/change/")
        assert page.status_code == 200
        assert "pass-word" not in page.content.decode() + as_administrator.get(base).content.decode()
        for url in (f"{base}add/", f"{base}{row.pk}/change/", f"{base}{row.pk}/delete/"):
            assert as_administrator.post(url, {"post": "yes", "name": "changed"}).status_code == 403
        action = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        as_administrator.post(base, action)
        assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("role", ["viewer", "operator", "installer"])
def test_the_admin_shows_staff_only_what_they_hold_a_permission_for(role: str, request: pytest.FixtureRequest) -> None:
    person = request.getfixturevalue(role)
    client = signed_in(person)
    assert client.get("/django-admin/").status_code == 302
    person.is_staff = True
    person.save()
    for page in (
        "auth/user/",
        "auth/group/",
        "auth/user/add/",
        f"auth/user/{person.pk}/change/",
        "axes/accessattempt/",
    ):
        assert client.get(f"/django-admin/{page}").status_code == 403
        assert client.post(f"/django-admin/{page}", {"is_superuser": "on"}).status_code == 403
    person.refresh_from_db()
    assert not person.is_superuser


# --- The table of roles -----------------------------------------------------------------------------------------------


def test_a_view_asks_for_nothing_but_what_a_role_gives() -> None:
    from team.access import PUBLIC
    from team.roles import ADMINISTRATOR

    asked = {pattern.callback.access for _, pattern in ALL} - {PUBLIC, "signed in"}
    assert asked <= set(ADMINISTRATOR)


def test_the_documents_say_of_every_role_what_it_may_do() -> None:
    from team.roles import ROLES

    text = (Path(__file__).parents[2] / "docs" / "roles.md").read_text()
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]
    header, written = rows[0], {row[1].strip("`"): row[2:] for row in rows[2:]}
    assert header[2:] == list(ROLES)
    assert set(written) == set().union(*ROLES.values())
    for permission, marks in written.items():
        assert marks == ["yes" if permission in held else "–" for held in ROLES.values()], permission


def test_the_table_of_roles_names_permissions_that_exist() -> None:
    from team.roles import ADMINISTRATOR

    held = {f"{p.content_type.app_label}.{p.codename}" for p in Permission.objects.select_related("content_type")}
    assert set(ADMINISTRATOR) <= held
