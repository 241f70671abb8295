import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from pytest_django import DjangoDbBlocker

from tests.fakes import http_server

_WHOLE = {"integration", "browser"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole consoles, kills and browsers on a shared machine: one more try, which pytest names in its report.

    They come first, for they take longest: at the end each process has small ones left.
    """
    for item in items:
        if _WHOLE & set(item.path.parts):
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: not _WHOLE & set(item.path.parts))


#: Tables that migrations fill, and no test with transactions of its own changes.
_OF_MIGRATIONS = {
    "django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions",
}  # fmt: skip


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A test with transactions of its own leaves the database as the migrations did, the roles included.

    Django would empty every table for that, and make types and permissions again, which takes longer than most tests.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(sqlite3.connect(":memory:")) as migrated:
        if connection.vendor == "sqlite":
            with django_db_blocker.unblock():
                connection.ensure_connection()
                connection.connection.backup(migrated)

            def restore(_case: TransactionTestCase) -> None:
                connection.ensure_connection()
                migrated.backup(connection.connection)

        else:

            def restore(_case: TransactionTestCase) -> None:
                tables = set(connection.introspection.django_table_names(only_existing=True)) - _OF_MIGRATIONS
                with transaction.atomic(), connection.cursor() as cursor:
                    # Which row is named by which other is looked at when all are gone.
                    cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in sorted(tables)))

        patch.setattr(TransactionTestCase, "_fixture_teardown", restore)
        yield


@pytest.fixture
def server() -> Iterator[http_server.Server]:
    """A real web server that misbehaves as a test asks."""
    with http_server.running() as running:
        yield running


@pytest.fixture
def other() -> Iterator[http_server.Server]:
    """Another host: the same address, another port."""
    with http_server.running() as running:
        yield running


@pytest.fixture
def models_path(tmp_path: Path, settings) -> Path:
    """An empty models folder that the console uses for this test."""
    settings.MODELS_PATH = tmp_path / "models"
    settings.MODELS_PATH.mkdir()
    return settings.MODELS_PATH


def person(role: str) -> User:
    user = User.objects.create_user(f"{role}-person", password="correct horse battery")
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def viewer(db) -> User:
    return person("viewer")


@pytest.fixture
def operator(db) -> User:
    return person("operator")


@pytest.fixture
def installer(db) -> User:
    return person("installer")


@pytest.fixture
def administrator(db) -> User:
    return User.objects.create_superuser("administrator-person", password="correct horse battery")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    return client


@pytest.fixture
def as_viewer(viewer: User) -> Client:
    return signed_in(viewer)


@pytest.fixture
def as_operator(operator: User) -> Client:
    return signed_in(operator)


@pytest.fixture
def as_installer(installer: User) -> Client:
    return signed_in(installer)


@pytest.fixture
def as_administrator(administrator: User) -> Client:
    return signed_in(administrator)
