"""One scrape is right with several web processes, and loses nothing when one of them is killed or stopped."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.fakes.console import Console

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with Console(tmp_path / "data", LOCALAI_ADMIN_WEB_WORKERS="2") as running:
        yield running


def counted(console: Console, name: str, words: str) -> float:
    text = requests.get(console.address + "/metrics", timeout=10).text
    rows = [line for line in text.splitlines() if line.startswith(name) and words in line]
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


def calls(console: Console) -> float:
    return counted(console, "api_call_count", 'path="/sign-in/"')


def call(console: Console, times: int) -> None:
    for _ in range(times):
        assert requests.get(console.address + "/sign-in/", timeout=10).status_code == 200


def until_counted(console: Console, count: float) -> None:
    end = time.monotonic() + 10
    while calls(console) != count:
        assert time.monotonic() < end, (calls(console), count)
        time.sleep(0.3)


def web_workers(console: Console) -> list[psutil.Process]:
    return [process for process in console.child("web").children() if "granian" in " ".join(process.cmdline())]


def test_calls_to_all_web_workers_are_added_up(console: Console) -> None:
    call(console, 60)
    until_counted(console, 60)
    assert counted(console, "django_http_responses_total_by_status_view_method_total", "sign_in") == 60


def test_a_killed_web_worker_takes_nothing_away(console: Console) -> None:
    call(console, 40)
    until_counted(console, 40)
    web_workers(console)[0].kill()
    time.sleep(2)
    call(console, 5)
    until_counted(console, 45)


def test_what_was_measured_last_is_flushed_when_the_console_stops(console: Console) -> None:
    call(console, 30)
    console.stop()
    text = "".join(file.read_text() for file in (console.data / "run" / "metrics").glob("otel_*.prom"))
    rows = re.findall(r'^api_call_count\{[^}]*path="/sign-in/"[^}]*\} ([\d.]+)$', text, re.M)
    assert sum(float(row) for row in rows) == 30
