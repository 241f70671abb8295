"""The same tests on PostgreSQL: everything that reads or writes galleries, jobs and people."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.fakes import postgres
from tests.fakes.console import Console

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
TESTS = [
    "tests/contracts/test_search.py",
    "tests/web/test_refresh.py",
    "tests/web/test_jobs.py",
    # Of the pages, what they ask the database for; what they show comes from the rows, whoever keeps them.
    "tests/web/test_gallery_page.py::test_the_whole_page_takes_one_query_more_for_words_never_searched_before",
    "tests/web/test_gallery_page.py::test_typing_takes_eight_queries_at_most",
    "tests/web/test_jobs_page.py",
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with postgres.running() as address:
        yield address


def manage(address: str, folder: Path, *words: str) -> str:
    env = {**os.environ, "DATABASE_URL": address, "LOCALAI_ADMIN_DATA": str(folder)}
    command = [sys.executable, "manage.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_migration_runs_forwards_and_search_backwards(address: str, tmp_path: Path) -> None:
    manage(address, tmp_path, "migrate")
    manage(address, tmp_path, "migrate", "gallery", "0002")
    assert "0003_search... OK" in manage(address, tmp_path, "migrate")


def test_a_whole_console_runs_on_it(address: str, tmp_path: Path) -> None:
    console = Console(tmp_path / "data", new=True, DATABASE_URL=address)
    console.start()
    try:
        ready = requests.get(f"{console.address}/readyz", timeout=10)
        assert (ready.status_code, console.tree() != []) == (200, True)
    finally:
        console.stop()
    assert "Traceback" not in console.log


def test_a_search_goes_by_the_index_and_other_queries_are_planned_as_ever(address: str, tmp_path: Path) -> None:
    script = (
        "from django.db import connection; from gallery.searching.postgres import _rows\n"
        "inside = _rows('SHOW enable_seqscan', [])\n"
        "with connection.cursor() as cursor:\n"
        "    cursor.execute('SHOW enable_seqscan')\n"
        "    print('SAID', inside, cursor.fetchall())\n"
    )
    assert "SAID [('off',)] [('on',)]" in manage(address, tmp_path, "shell", "-v", "0", "-c", script)


def test_the_tests_of_galleries_and_jobs_pass(address: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=short", *TESTS]
    env = {**os.environ, "DATABASE_URL": address}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
