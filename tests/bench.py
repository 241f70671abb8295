"""`make bench`: what the console costs, each figure beside a baseline that was taken in the same run.

These machines are noisy: look at medians and at the ratio to the baseline, not at a single figure.
"""

import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
import yaml

from tests import bench_downloads, bench_watching
from tests.bench_search import search
from tests.fakes.console import WITHOUT_EXTRAS, Console
from tests.fakes.real_gallery import index


@dataclass
class Row:
    what: str
    value: str
    target: str
    baseline: str
    ratio: str


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def percentiles(call: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and 99th percentile in seconds, after a warm-up."""
    for _ in range(3):
        call()
    times = sorted(timed(call) for _ in range(rounds))
    return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def refresh(folder: Path) -> list[Row]:
    """Cold: parse and write all entries. Unchanged: ask, and find that nothing is new."""
    from gallery.models import Entry, Gallery
    from gallery.services import refresh as service

    file = index(folder)
    parse = statistics.median(timed(lambda: yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)) for _ in range(3))
    gallery, _ = Gallery.objects.get_or_create(name="bench", defaults={"url": f"file://{file}"})

    def cold() -> None:
        Entry.objects.filter(gallery=gallery).delete()
        Gallery.objects.filter(pk=gallery.pk).update(digest="", etag="", last_modified="")
        service.refresh_now(gallery.pk)

    colds = [timed(cold) for _ in range(3)]
    unchanged, _ = percentiles(lambda: service.refresh_now(gallery.pk), 20)
    count = Entry.objects.filter(gallery=gallery).count()
    cold_median = statistics.median(colds)
    base = f"parse alone {parse:.2f} s"
    return [
        Row(f"refresh of {count} entries, cold", f"{cold_median:.2f} s", "< 3 s", base, f"{cold_median / parse:.1f} ×"),
        Row("refresh, unchanged", milliseconds(unchanged), "< 100 ms", base, f"{unchanged / parse:.3f} ×"),
    ]


def pages() -> list[Row]:
    """Time on the server, without the network, and queries."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    user, _ = User.objects.get_or_create(username="bench", defaults={"is_superuser": True})
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    base, _ = percentiles(lambda: client.get("/healthz"), 200)
    rows = []
    for what, path, target in (
        ("gallery page", "/gallery/", "< 30 ms, ≤ 10 queries"),
        ("overview", "/", "–"),
        ("models", "/models/", "–"),
        ("jobs", "/jobs/", "–"),
        ("monitor", "/monitor/", "–"),
    ):
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(path)
        asked = len(queries)
        assert answer.status_code == 200, (path, answer.status_code)
        median, high = percentiles(lambda path=path: client.get(path), 60)
        value = f"{milliseconds(median)} (p99 {milliseconds(high)}), {asked} queries"
        rows.append(Row(what, value, target, f"/healthz {milliseconds(base)}", f"{median / base:.1f} ×"))
    return rows


def searches(folder: Path) -> list[Row]:
    """Each size in a process of its own, so that one does not warm the other."""
    place = folder / "search"
    place.mkdir()
    return [Row(*cells) for cells in search(place)]


def running_console(folder: Path) -> list[Row]:
    """From `up` to the first page, idle memory, and the weight of each page's first load."""
    django_setup = statistics.median(
        timed(
            lambda: subprocess.run(
                [sys.executable, "-c", "import django; django.setup()"], check=True, env=os.environ | WITHOUT_EXTRAS
            )
        )
        for _ in range(3)
    )
    galleries = json.dumps([{"name": "real", "url": f"file://{index(folder)}"}])
    console = Console(folder / "console", new=True, LOCALAI_GALLERIES=galleries, LOCALAI_ADMIN_FILE_ROOTS=str(folder))
    first = console.start()
    session = requests.Session()
    sign_in(session, console)
    wait_for_gallery(session, console)
    measured = [*weights(session, console), *memory(console)]
    console.stop()
    again = statistics.median(start_and_stop(console) for _ in range(3))
    base = f"django.setup() {django_setup:.2f} s"
    return [
        Row("up to first page, new data folder", f"{first:.1f} s", "< 5 s", base, f"{first / django_setup:.1f} ×"),
        Row("up to first page, again", f"{again:.1f} s", "< 5 s", base, f"{again / django_setup:.1f} ×"),
        *measured,
    ]


def start_and_stop(console: Console) -> float:
    seconds = console.start()
    console.stop()
    return seconds


def sign_in(session: requests.Session, console: Console) -> None:
    page = session.get(console.welcome_link)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"username": "bench", "password1": "a quiet long phrase", "password2": "a quiet long phrase"}
    answer = session.post(
        console.welcome_link, {**form, "csrfmiddlewaretoken": token[1]}, headers={"Referer": console.address}
    )
    assert answer.status_code == 200


def wait_for_gallery(session: requests.Session, console: Console) -> None:
    """The galleries of the settings are read in the first minute; what is measured then has seen the real index."""
    end = time.monotonic() + 90
    while "card-model" not in session.get(console.address + "/gallery/").text:
        assert time.monotonic() < end, "the gallery was never read"
        time.sleep(1)


def weights(session: requests.Session, console: Console) -> list[Row]:
    """Bytes over the line and requests of a first load: the page and all it names, gallery icons aside."""
    rows = []
    for what, path in (
        ("overview", "/"),
        ("models", "/models/"),
        ("gallery", "/gallery/"),
        ("jobs", "/jobs/"),
        ("monitor", "/monitor/"),
        ("sign-in", "/sign-in/"),
    ):
        page = (requests if what == "sign-in" else session).get(
            console.address + path, headers={"Accept-Encoding": "gzip"}, stream=True
        )
        raw = page.raw.read()
        text = gzip.decompress(raw).decode() if page.headers.get("Content-Encoding") == "gzip" else raw.decode()
        names = set(re.findall(r'(?:src|href)="(/static/[^"#]+)', text))
        sizes = [len(raw), *(asset_size(console.address + name) for name in names)]
        plain = len(text) + sum(len(requests.get(console.address + name).content) for name in names)
        rows.append(
            Row(
                f"first load of {what}",
                f"{sum(sizes) / 1024:.0f} KiB, {len(sizes)} requests",
                "< 150 KiB, < 12",
                f"uncompressed {plain / 1024:.0f} KiB",
                f"{sum(sizes) / plain:.2f} ×",
            )
        )
    return rows


def asset_size(url: str) -> int:
    answer = requests.get(url, headers={"Accept-Encoding": "gzip"}, stream=True)
    assert "max-age" in answer.headers.get("Cache-Control", ""), url
    return len(answer.raw.read())


def memory(console: Console) -> list[Row]:
    time.sleep(15)
    tree = console.tree()
    resident = sum(process.memory_info().rss for process in tree)
    shared_once = sum(process.memory_full_info().pss for process in tree)
    script = "import django, psutil; django.setup(); print(psutil.Process().memory_info().rss)"
    alone = subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | WITHOUT_EXTRAS, capture_output=True, text=True
    )
    base = int(alone.stdout)
    parts = ", ".join(f"{name(process)} {process.memory_info().rss >> 20}" for process in tree)
    cpu_before = sum(sum(process.cpu_times()[:2]) for process in tree)
    time.sleep(10)
    cpu = (sum(sum(process.cpu_times()[:2]) for process in tree) - cpu_before) / 10
    return [
        Row(
            "idle tree, resident",
            f"{resident / 2**20:.0f} MB ({parts})",
            "< 300 MB",
            f"one django.setup() {base / 2**20:.0f} MB",
            f"{resident / base:.1f} ×",
        ),
        Row(
            "idle tree, shared pages once",
            f"{shared_once / 2**20:.0f} MB",
            "–",
            f"one django.setup() {base / 2**20:.0f} MB",
            f"{shared_once / base:.1f} ×",
        ),
        Row("idle tree, CPU", f"{cpu * 100:.1f} % of a core", "–", "–", "–"),
    ]


def name(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return next(
        (
            word
            for key, word in (("supervise", "up"), ("granian", "web"), ("run_huey", "worker"), ("run_agent", "agent"))
            if key in words
        ),
        "web",
    )


def enqueue_to_start(folder: Path) -> list[Row]:
    """From the request to the worker's claim, and the time a bare Huey message takes by its own polling."""
    console = Console(folder / "queue")
    console.start()
    script = (
        "from gallery.models import Gallery, Job; from gallery.services import refresh; import time, statistics\n"
        "times = []\n"
        "for n in range(15):\n"
        "    g = Gallery.objects.create(name=f'g{n}', url='file:///nowhere/index.yaml')\n"
        "    job = refresh.request_refresh(g, None)\n"
        "    end = time.time() + 10\n"
        "    while time.time() < end:\n"
        "        job.refresh_from_db()\n"
        "        if job.started_at: break\n"
        "        time.sleep(0.01)\n"
        "    times.append((job.started_at - job.created_at).total_seconds())\n"
        "    time.sleep(1.3)\n"
        "times.sort(); print('TIMES', statistics.median(times), times[-1])\n"
    )
    found = re.search(r"TIMES (\S+) (\S+)", console.manage("shell", "-v", "0", "-c", script))
    console.stop()
    assert found
    median, worst = float(found[1]), float(found[2])
    return [
        Row(
            "enqueue to start, after an idle second",
            f"{median:.3f} s (worst {worst:.3f} s)",
            "< 0.3 s",
            "longest poll 0.2 s",
            f"{median / 0.2:.1f} ×",
        )
    ]


def watching(folder: Path) -> list[Row]:
    """What the web processes use while 200 pages watch 50 jobs, and whether each page saw how each job ended."""
    found = bench_watching.measure(folder / "watching")
    pages = found.pages
    polls = f"{pages.polls / bench_watching.SECONDS:.0f} polls a second, slowest {milliseconds(pages.slowest)}"
    return [
        Row(
            f"{bench_watching.JOBS} jobs watched by {bench_watching.PAGES} pages, CPU",
            f"{found.watched:.1f} % of a core, {polls}",
            "< 15 %",
            f"nobody watching {found.quiet:.1f} %",
            "–",
        ),
        Row("ends of jobs that a page did not see", f"{found.missed} of {found.ended} ends", "0", "–", "–"),
    ]


def print_table(rows: list[Row]) -> None:
    cells = [
        ("what", "value", "target", "baseline", "ratio"),
        *((r.what, r.value, r.target, r.baseline, r.ratio) for r in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    with tempfile.TemporaryDirectory(prefix="localai-admin-bench-") as place:
        folder = Path(place)
        os.environ["TMPDIR"] = place
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        from django.conf import settings

        settings.FILE_ROOTS = [folder]
        inside = [*refresh(folder), *pages(), *searches(folder)]
        print_table([*inside, *enqueue_to_start(folder), *running_console(folder)])
        print_table(watching(folder))
        downloads = folder / "downloads"
        downloads.mkdir()
        folder.chmod(0o755)
        print_table([Row(*row) for row in bench_downloads.rows(downloads)])


if __name__ == "__main__":
    main()
