"""What it costs to watch: jobs that change every second, and many open pages that ask as often as they are told to.

Every page is a browser's: a session of its own, one connection that stays open, the list (or the page of one job) and
the strip of the frame, each asked again by its own address and at its own pace. Whether a page has seen how each job
ended is looked at as well: a cheap answer that is wrong would be no use.
"""

import asyncio
import gzip
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path

import psutil

from tests.fakes.console import ROOT, Console

JOBS, PAGES, SECONDS, QUIET_SECONDS = 50, 200, 20.0, 8.0
#: One page after the other is opened within this, or as soon as the console is able to, and when all are, they are left
#: to find their pace. Opening is no watching: the first load of each is drawn for it alone. Seconds.
OPENING, MOST_OPENING, SETTLING = 18.0, 120.0, 12.0
#: Every fifth page is that of a single job.
SINGLE = 5
#: After this a page must have seen what happened. Seconds.
SEEN_WITHIN = 12.0

PREPARE = """
import json
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from gallery.models import Job, JobEvent, JobFile
from gallery.states import Kind, State
user = User.objects.create_superuser("watcher", password="a quiet long phrase")
cookies = []
for _ in range({pages}):
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    cookies.append(client.cookies["sessionid"].value)
print(json.dumps({{"cookies": cookies}}))
"""

WRITER = """
import random, sys, time
import django
django.setup()
from django.db import transaction
from django.utils import timezone
from gallery.models import Job, JobEvent, JobFile
from gallery.states import Kind, State
count, TOTAL = int(sys.argv[1]), 4 << 30
names = iter(range(10**9))
def begin():
    now = timezone.now()
    job = Job.objects.create(
        kind=Kind.INSTALL, subject=f"model-{next(names)}", state=State.DOWNLOADING, by="ines", attempt=1,
        worker="elsewhere:1:1.00:aa", heartbeat_at=now, started_at=now, bytes_total=TOTAL, message="Downloading")
    JobEvent.objects.create(job=job, by="ines", to_state="downloading", why="asked for")
    JobFile.objects.create(
        job=job, filename=f"{job.subject}.gguf", uri="https://example.org/x", sha256="a" * 64, size=TOTAL)
    return job
jobs = [begin() for _ in range(count)]
print("READY", *[job.pk for job in jobs], flush=True)
at = time.monotonic()
turn = 0
for line in iter(lambda: None, 1):
    turn += 1
    for place, job in enumerate(jobs):
        now = timezone.now()
        job.bytes_done += random.randrange(1 << 20, 8 << 20)
        with transaction.atomic():
            Job.objects.filter(pk=job.pk).update(bytes_done=job.bytes_done, speed=random.random() * 1e8,
                last_data_at=now, heartbeat_at=now, changed_at=now)
            JobFile.objects.filter(job=job).update(done=job.bytes_done, status="downloading")
        # Every second one ends, in one of three ways, and another takes its place.
        if place == turn % count:
            end = random.choice([State.DONE, State.FAILED, State.CANCELLED])
            if end == State.DONE:
                job.move(State.DOWNLOADING, State.COMMITTING, "whole")
                job.move(State.COMMITTING, State.DONE, "installed", bytes_done=TOTAL)
            else:
                job.move(State.DOWNLOADING, end, "it ended", error="The line dropped." if end == State.FAILED else "")
            print("ENDED", job.pk, str(end), time.time(), flush=True)
            jobs[place] = begin()
        at_next = at + turn - 1 + (place + 1) / count
        time.sleep(max(0, at_next - time.monotonic()))
"""

_LIVE = re.compile(r'id="(jobs|job|strip)"[^>]*?hx-get="([^"]+)"[^>]*?data-live="([\d.]+)"')
_ROW = re.compile(r'id="job-([0-9a-f-]{36})".*?class="state state-(\w+)', re.S)
_STATE = re.compile(r'id="job-state".*?class="state state-(\w+)', re.S)
#: The tone of a state, as it is written in a page.
TONES = {"done": "ready", "failed": "failed", "cancelled": "resting"}


@dataclass
class Watched:
    """What all pages together asked and saw."""

    opened: int = 0
    ends_at: float = math.inf
    polls: int = 0
    unchanged: int = 0
    bytes: int = 0
    slowest: float = 0.0
    reopened: int = 0
    failures: list[str] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)


class Page:
    """An open page: its parts, each with its address and its pace."""

    def __init__(self, port: int, cookie: str, path: str, all_pages: Watched) -> None:
        self.port, self.cookie, self.path, self.all = port, cookie, path, all_pages
        self.parts: dict[str, tuple[str, float]] = {}
        self.last_seen: dict[str, str] = {}
        self.is_single = path != "/jobs/"
        all_pages.seen.append(self.last_seen)

    async def watch(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        try:
            await self._ask(self.path, part=False)
            self.all.opened += 1
            due = {part: time.monotonic() + pace for part, (_, pace) in self.parts.items()}
            while due and (at := min(due.values())) < self.all.ends_at:
                part = min(due, key=lambda name: due[name])
                await asyncio.sleep(max(at - time.monotonic(), 0))
                url, _ = self.parts[part]
                if await self._ask(url, part=True) == 200 and part not in self.parts:
                    del due[part]
                    continue
                due[part] = time.monotonic() + self.parts[part][1]
        finally:
            self.writer.close()

    async def _ask(self, url: str, *, part: bool) -> int:
        url = unescape(url)
        url = url if url.startswith("/") else "/jobs/" + url
        htmx = "HX-Request: true\r\n" if part else ""
        began = time.monotonic()
        question = (
            f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept-Encoding: gzip\r\n{htmx}"
            f"Cookie: sessionid={self.cookie}; csrftoken={'c' * 32}\r\n\r\n".encode()
        )
        head = await self._head(question)
        status = int(head.split()[1])
        length = re.search(r"content-length: (\d+)", head)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        if part:
            self.all.polls += 1
            self.all.unchanged += status == 204
            self.all.bytes += len(body)
            self.all.slowest = max(self.all.slowest, time.monotonic() - began)
        if status == 200:
            self._read(gzip.decompress(body).decode() if "content-encoding: gzip" in head else body.decode(), part, url)
        elif status != 204:
            self.all.failures.append(f"{url}: {status}")
        return status

    async def _head(self, question: bytes) -> str:
        """The headers of the answer. A line that the server has closed is opened anew, as browsers do."""
        for _ in range(2):
            try:
                self.writer.write(question)
                return (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            except (asyncio.IncompleteReadError, ConnectionError):
                self.all.reopened += 1
                self.writer.close()
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        raise AssertionError("the console does not answer")

    def _read(self, text: str, part: bool, url: str) -> None:
        found = {name: (url, float(pace)) for name, url, pace in _LIVE.findall(text)}
        if not part:
            self.parts = found
        else:
            name = "strip" if 'id="strip"' in text[:400] else "job" if self.is_single else "jobs"
            self.parts.pop(name, None)
            self.parts.update(found)
        if self.is_single and (state := _STATE.search(text)):
            self.last_seen[self.path.split("/")[2]] = state[1]
        elif not self.is_single:
            self.last_seen.update(_ROW.findall(text))


def cpu_of(console: Console) -> float:
    """Seconds of processor time that the web processes have used."""
    web = console.child("web")
    times = [process.cpu_times() for process in [web, *web.children(recursive=True)]]
    return sum(time.user + time.system for time in times)


@dataclass
class Result:
    quiet: float
    watched: float
    pages: Watched
    missed: int
    ended: int

    def lines(self) -> list[str]:
        pages = self.pages
        return [
            f"web processes, nobody watching: {self.quiet:.1f} % of a core",
            f"web processes, {PAGES} pages:    {self.watched:.1f} % of a core",
            f"polls a second: {pages.polls / SECONDS:.0f}, unchanged {pages.unchanged}, {pages.bytes >> 10} KiB, "
            f"slowest {pages.slowest * 1000:.0f} ms",
            f"ends of jobs: {self.ended}, not seen by a page: {self.missed}",
            f"connections opened anew: {pages.reopened}",
            *pages.failures[:5],
        ]


async def watch_all(
    console: Console, cookies: list[str], jobs: list[str], seconds: float
) -> tuple[float, float, Watched]:
    """All pages for so long. Returns when all were open, the share of a core in percent then, and what they saw."""
    result = Watched()
    singles = (f"/jobs/{jobs[n % len(jobs)]}/" for n in range(len(cookies)))
    pages = [
        Page(console.port, cookie, next(singles) if n % SINGLE == 0 else "/jobs/", result)
        for n, cookie in enumerate(cookies)
    ]
    async with asyncio.TaskGroup() as tasks:
        for n, page in enumerate(pages):
            tasks.create_task(page.watch(n * OPENING / len(pages)))
        async with asyncio.timeout(MOST_OPENING):
            while result.opened < len(pages):
                await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLING)
        opened = time.time()
        result.ends_at = time.monotonic() + seconds + SEEN_WITHIN
        result.polls, result.unchanged, result.bytes, result.slowest = 0, 0, 0, 0.0
        before, at = await asyncio.to_thread(cpu_of, console), time.monotonic()
        await asyncio.sleep(seconds)
        used = (await asyncio.to_thread(cpu_of, console) - before) / (time.monotonic() - at) * 100
        counted = replace(result)
    return opened, used, counted


def missed(pages: Watched, ended: dict[str, tuple[str, float]], singles: set[str], until: float) -> int:
    """How often a page did not get to know how a job ended, among those that ended early enough."""
    count = 0
    for seen in pages.seen:
        for job, (state, at) in ended.items():
            is_own = job in seen if seen.keys() <= singles and len(seen) <= 1 else True
            if at <= until and is_own and seen.get(job) != TONES[state]:
                count += 1
    return count


def measure(folder: Path) -> Result:
    console = Console(folder / "data")
    with console:
        answer = console.manage("shell", "-v", "0", "-c", PREPARE.format(pages=PAGES))
        cookies = json.loads(next(line for line in answer.splitlines() if line.startswith("{")))["cookies"]
        environment = {
            **console.environment,
            "DJANGO_SETTINGS_MODULE": "localai_admin.settings",
            "PYTHONPATH": str(ROOT),
        }
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(JOBS)], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout
        try:
            jobs = writer.stdout.readline().split()[1:]
            time.sleep(2)
            before = cpu_of(console)
            time.sleep(QUIET_SECONDS)
            quiet = (cpu_of(console) - before) / QUIET_SECONDS * 100
            opened, watched, pages = asyncio.run(watch_all(console, cookies, jobs, SECONDS))
            until = time.time() - SEEN_WITHIN
        finally:
            psutil.Process(writer.pid).terminate()
        lines = [line.split() for line in writer.stdout if line.startswith("ENDED")]
        ended = {job: (state, float(at)) for _, job, state, at in lines if float(at) >= opened}
    return Result(
        quiet, watched, pages, missed(pages, ended, set(jobs), until), sum(at <= until for _, at in ended.values())
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(measure(Path(folder)).lines()))
