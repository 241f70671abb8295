"""Deny by default: every URL says who may call it, and the roles can do what the table says, no more."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from team.access import PUBLIC
from team.roles import ROLES

#: Everything that a person who is not signed in may call.
PUBLIC_ROUTES = {"sign-in/", "sign-out/", "welcome/<str:token>/", "healthz", "readyz", "metrics"}


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":
                yield from routes(pattern, path)
        else:
            yield path, pattern


ALL = list(routes())


@pytest.mark.parametrize(("path", "pattern"), ALL, ids=[path or "/" for path, _ in ALL])
def test_every_url_says_who_may_call_it(path: str, pattern: URLPattern) -> None:
    access = getattr(pattern.callback, "access", None)
    assert access, f"{path} has no @requires and no @public"
    assert (access == PUBLIC) == (path in PUBLIC_ROUTES)


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "pattern"), ALL, ids=[path or "/" for path, _ in ALL])
def test_the_permission_a_url_names_exists(path: str, pattern: URLPattern) -> None:
    access = pattern.callback.access
    if access not in {PUBLIC, "signed in"}:
        label, codename = access.split(".")
        assert Permission.objects.filter(content_type__app_label=label, codename=codename).exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "pattern"), ALL, ids=[path or "/" for path, _ in ALL])
def test_a_stranger_is_sent_to_the_sign_in_page(path: str, pattern: URLPattern) -> None:
    if path in PUBLIC_ROUTES:
        return
    arguments = {name: sample(converter) for name, converter in pattern.pattern.converters.items()}
    url = reverse(name_of(pattern), kwargs=arguments)
    for answer in (Client().get(url), Client().post(url)):
        assert answer.status_code == 302
        assert answer.url.startswith("/sign-in/")


def name_of(pattern: URLPattern) -> str:
    module = pattern.lookup_str.split(".")[0]
    return pattern.name if module == "localai_admin" else f"{module}:{pattern.name}"


def sample(converter: object) -> str:
    samples = {"UUIDConverter": "6f1f9b6e-6f0a-4b0e-9d0b-0d9a3c1a7c11", "IntConverter": "1"}
    return samples.get(type(converter).__name__, "x")


@pytest.mark.django_db
def test_the_groups_hold_exactly_what_the_roles_say() -> None:
    from django.contrib.auth.models import Group

    for role, names in ROLES.items():
        held = {f"{p.content_type.app_label}.{p.codename}" for p in Group.objects.get(name=role).permissions.all()}
        assert held == set(names)


def test_a_view_without_a_permission_is_refused(as_administrator: Client, settings) -> None:
    settings.ROOT_URLCONF = "tests.web.urls_without_permission"
    assert as_administrator.get("/forgotten/").status_code == 403


def test_a_fragment_sends_the_whole_page_to_sign_in(db) -> None:
    answer = Client().get("/strip/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/jobs/"})
    assert answer.headers["HX-Redirect"] == "/sign-in/?next=/jobs/"


def test_a_viewer_may_look_but_not_act(as_viewer: Client) -> None:
    assert as_viewer.get(reverse("models:index")).status_code == 200
    for name in ("models:load", "models:stop", "monitor:prompt"):
        assert as_viewer.post(reverse(name, args=["x"])).status_code == 403
    assert as_viewer.post(reverse("starter")).status_code == 403
    assert as_viewer.get("/django-admin/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_who_had_a_role_before_an_upgrade_gets_what_it_may_do_now() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("localai_admin", "0001_roles"), ("gallery", "0001_initial")])
    Group.objects.get_or_create(name="installer")[0].permissions.clear()
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    held = Group.objects.get(name="installer").permissions.values_list("content_type__app_label", "codename")
    assert {f"{label}.{codename}" for label, codename in held} == set(ROLES["installer"])
