"""The rows and files of a console as a small team would have it, around one real model: for the README's pictures."""

import json
import math
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db.models import F
from django.utils import timezone

from gallery.models import Entry, Gallery, Job, JobEvent, JobFile
from gallery.services import installs, refresh, starter
from models import services
from models.models import Instance
from monitor.models import HostSample, Sample
from tests.fakes.real_gallery import index

GIB = 1 << 30
RNG = random.Random(3)
#: (words of the name, backend, use cases, GiB, context, hours since the last prompt)
HERE = (
    (("qwen3.8-9b-q4",), "llama-cpp", ["chat"], 5.6, 32768, 3),
    (("qwen3-vl-8b-instruct",), "llama-cpp", ["chat", "vision"], 6.3, 16384, 9),
    (("mistral-small-3.2",), "llama-cpp", ["chat"], 14.2, 32768, 26),
    (("gpt-oss-20b",), "llama-cpp", ["chat"], 12.1, 65536, 50),
    (("whisper", "large"), "whisper", ["transcript"], 2.9, None, 5),
    (("nomic-embed",), "llama-cpp", ["embeddings"], 0.3, 8192, 1),
    (("piper", "en"), "piper", ["tts"], 0.1, None, 70),
    (("flux",), "stablediffusion-ggml", ["image"], 11.8, None, None),
)
BEFORE = ("grace", "ada", "ada", "linus", "grace")


def fill(name: str, password: str, folder: str) -> None:
    """Needs a running worker and agent, and the network for the starter model."""
    now = timezone.now()
    person = people(name, password)
    gallery = Gallery.objects.create(name="localai", url=f"file://{index(Path(folder))}", position=0)
    refresh.refresh_now(gallery.pk)
    names = [found for words, *_ in HERE if (found := named(words))]
    for found, (_, backend, uses, size, context, used) in zip(names, HERE, strict=False):
        model(found, backend, uses, size, context)
        if used is not None:
            at = now - timedelta(hours=used)
            Instance.objects.create(
                name=found, backend=backend, last_used_at=at, state_since=at + timedelta(minutes=20)
            )
    record(names, now)
    wait(ended(starter.request_starter(person)))
    entry = Entry.objects.get(gallery__name=starter.NAME, name=starter.MODEL)
    wait(ended(installs.request_install(entry, "", person)))
    services.request_load(starter.MODEL, person)
    wait(lambda: services.instance_for(starter.MODEL).is_ready)
    time.sleep(6)
    hour_before(services.instance_for(starter.MODEL))
    under_way(now)


def people(name: str, password: str) -> User:
    for other in set(BEFORE) - {name}:
        User.objects.create_user(other).groups.set(Group.objects.filter(name="installer"))
    person = User.objects.create_superuser(name, password=password)
    person.groups.set(Group.objects.filter(name="administrator"))
    return person


def named(words: tuple[str, ...]) -> str:
    found = Entry.objects.all()
    for word in words:
        found = found.filter(name__icontains=word)
    return min(found.values_list("name", flat=True), key=len, default="-".join(words))


def model(name: str, backend: str, uses: list[str], size: float, context: int | None) -> None:
    folder = Path(settings.MODELS_PATH)
    lines = [f"name: {name}", f"backend: {backend}", f"known_usecases: {json.dumps(uses)}"]
    lines += [f"context_size: {context}"] if context else []
    (folder / f"{name}.yaml").write_text("\n".join([*lines, "parameters:", f"  model: {name}.gguf"]) + "\n")
    with (folder / f"{name}.gguf").open("wb") as file:
        file.truncate(int(size * GIB))


def record(names: list[str], now: datetime) -> None:
    """Three weeks of installs, deletions and refreshes."""
    for number in range(70):
        at = now - timedelta(hours=4 + 7 * number, minutes=17 * number % 60)
        kind = "refresh" if number % 4 == 1 else "delete" if number % 13 == 6 else "install"
        subject = "localai" if kind == "refresh" else names[number % len(names)]
        state = "failed" if number in {9, 31} else "cancelled" if number == 16 else "done"
        size = int((1 + 3.7 * (number % 6)) * GIB) if kind == "install" else 0
        took = 4 if not size else size / 90e6
        job = Job.objects.create(
            kind=kind,
            subject=subject,
            state=state,
            created_at=at,
            started_at=at,
            attempt=1,
            changed_at=at,
            by="" if kind == "refresh" else BEFORE[number % len(BEFORE)],
            finished_at=at + timedelta(seconds=took),
            bytes_total=size or None,
            bytes_done=size,
            dismissed=True,
            message=""
            if state != "done"
            else {"install": f"{subject} is installed", "refresh": "1,709 entries, 4 new"}.get(kind, "2 files gone"),
            error="huggingface.co answered 503 five times." if state == "failed" else "",
        )
        JobEvent.objects.create(job=job, at=at, by=job.by, to_state="queued", why="asked for")
        JobEvent.objects.create(job=job, at=job.finished_at, by="worker", from_state="committing", to_state=state)


def under_way(now: datetime) -> None:
    """A download that a worker far away keeps alive, and one that waits for a person."""
    fresh = now + timedelta(hours=1)
    subject = named(("qwen3.8-27b-q4",))
    job = Job.objects.create(
        kind="install", subject=subject, state="downloading", by="grace", created_at=now - timedelta(minutes=3),
        started_at=now - timedelta(minutes=3), bytes_total=int(17.4 * GIB), bytes_done=int(10.9 * GIB), speed=92e6,
        last_data_at=fresh, heartbeat_at=fresh, attempt=1, worker="far",
    )  # fmt: skip
    for number, (size, done) in enumerate(((16.5, 10.0), (0.9, 0.9))):
        JobFile.objects.create(
            job=job, position=number, filename=f"{subject}/{('Q4_K_M', 'mmproj')[number]}.gguf", uri="hf://",
            size=size * GIB, done=done * GIB, sha256="ab" * 32, status="verified" if size == done else "downloading",
        )  # fmt: skip
    JobEvent.objects.create(job=job, at=now - timedelta(minutes=3), by="grace", to_state="queued", why="asked for")
    failed = Job.objects.create(
        kind="install", subject=named(("llama-3.3-70b",)), state="failed", by="linus", attempt=1, cause="auth",
        created_at=now - timedelta(minutes=41), finished_at=now - timedelta(minutes=40),
        error="huggingface.co wants a token for this model.",
        action="Accept the licence on its page, set HF_TOKEN, then retry.",
    )  # fmt: skip
    JobEvent.objects.create(
        job=failed, at=failed.finished_at, by="worker", from_state="resolving", to_state="failed", why=failed.error
    )


def hour_before(instance: Instance) -> None:
    """What was measured just now, led back over the last hour."""
    latest = HostSample.objects.filter(node=settings.NODE).latest("at")
    first = HostSample.objects.filter(node=settings.NODE).earliest("at")
    rows = []
    for step in range(1, 700):
        wave = max(0.0, math.sin(step / 45)) ** 3
        rows.append(
            HostSample(
                node=settings.NODE, at=first.at - timedelta(seconds=5 * step), cores=latest.cores, gpus=latest.gpus,
                cpu_percent=6 + 70 * wave + RNG.random() * 6, memory_total=latest.memory_total,
                memory_used=int(latest.memory_used * (0.8 + 0.2 * math.cos(step / 160) ** 2)),
                disk_total=latest.disk_total, disk_free=latest.disk_free + step * (4 << 20),
            )
        )  # fmt: skip
    HostSample.objects.bulk_create(rows)
    sample = instance.samples.latest("at")
    instance.samples.exclude(pk=sample.pk).delete()
    Sample.objects.bulk_create(
        Sample(
            instance=instance, at=sample.at - timedelta(seconds=5 * step), processes=sample.processes,
            cpu_percent=max(0.0, math.sin(step / 9)) ** 4 * 95 + RNG.random() * 2,
            rss=int(sample.rss * (1 - 0.06 * (step > 90))),
        )
        for step in range(1, 165)
    )  # fmt: skip
    moved = timedelta(minutes=14)
    instance.events.update(at=F("at") - moved)
    Instance.objects.filter(pk=instance.pk).update(
        ready_at=instance.ready_at - moved, state_since=instance.state_since - moved
    )


def ended(job: Job) -> Callable[[], bool]:
    def check() -> bool:
        job.refresh_from_db()
        assert not job.has_failed, job.error
        return not job.is_active

    return check


def wait(until: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.3)
