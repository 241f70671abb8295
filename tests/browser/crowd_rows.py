"""The rows and files of the crowd: called inside a Django shell, on a fresh data folder."""

import json
import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.utils import timezone

from gallery.models import Entry, Gallery
from gallery.services import refresh
from models.models import Instance, InstanceEvent
from monitor.models import HostSample, Sample
from tests.browser.crowd_jobs import GIB, PEOPLE, RNG, active_jobs, record
from tests.fakes.real_gallery import index

LONG = (
    "exit code 137: the kernel ended it for want of memory while it read the weights "
    "(llama_model_load: error loading model: unable to allocate CUDA0 buffer of 23,412.00 MiB). "
    "Choose a smaller build, or shut another model down first."
)
#: (state, wanted, reason, attempt)
INSTANCES = (
    ("ready", "running", "the model is loaded", 0),
    ("ready", "running", "the model is loaded", 0),
    ("ready", "running", "it has not answered a health check for 40 s", 1),
    ("starting", "running", "the process was started, its server is awaited", 0),
    ("loading", "running", "the backend reads the model", 0),
    ("stopping", "stopped", "shutdown requested, the process was asked to end", 0),
    ("backoff", "running", LONG, 3),
    ("failed", "running", LONG, 5),
    (
        "failed",
        "running",
        "there is no backend named whisper. Put it into the backends folder, or correct the name.",
        1,
    ),
    ("unknown", "running", "found again after a restart, not verified yet", 0),
    ("stopped", "running", "", 0),
    ("stopped", "stopped", "", 0),
)


def fill(name: str, password: str, silent: bool) -> None:
    now = timezone.now()
    people(name, password)
    names = galleries(now)
    files(names)
    instances(names, now, silent)
    host(now - timedelta(minutes=9) if silent else now, silent)
    active_jobs(names[20:], now)
    record(names, now)


def people(name: str, password: str) -> None:
    person = User.objects.create_superuser(name, password=password)
    person.groups.set(Group.objects.filter(name="administrator"))
    User.objects.create_user("vera", password=password).groups.set(Group.objects.filter(name="viewer"))
    for other in PEOPLE[1:]:
        User.objects.create_user(other)


def galleries(now: datetime) -> list[str]:
    """A good gallery and one that cannot be read. Returns the longest names, then others."""
    folder = Path(tempfile.mkdtemp())
    good = Gallery.objects.create(name="localai", url=f"file://{index(folder)}", position=0)
    settings.FILE_ROOTS = [folder]
    refresh.refresh_now(good.pk)
    error = "gallery.example.org did not answer within 20 s. Check the address, or the network of this machine."
    Gallery.objects.create(
        name="our-own-models",
        url="https://gallery.example.org/index.yaml",
        position=1,
        error=error,
        checked_at=now - timedelta(hours=3),
        refreshed_at=now - timedelta(days=2),
    )
    return sorted(Entry.objects.values_list("name", flat=True), key=len, reverse=True)[:120]


def files(names: list[str]) -> None:
    """Sixty configured models with files of their real sizes (holes, nothing written), and loose files."""
    folder = Path(settings.MODELS_PATH)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names[:60]):
        file = f"{name}.Q4_K_M.gguf"
        uses = (["chat", "completion"], ["chat", "vision", "tokenize"], ["embeddings"], ["tts"])[number % 4]
        lines = [
            f"name: {name}",
            f"backend: {('llama-cpp', 'whisper', 'stablediffusion-ggml')[number % 3]}",
            f"known_usecases: {json.dumps(uses)}",
            f"context_size: {2 ** (11 + number % 7)}",
            "parameters:",
            f"  model: {file}",
        ]
        (folder / f"{name.replace(':', '_')}.yaml").write_text("\n".join(lines) + "\n")
        if number % 17 != 16:
            hole(folder / file, int((0.3 + number % 23) * GIB))
    hole(folder / "an-old-model-that-somebody-put-here-by-hand-in-2023.ggmlv3.q4_0.bin", 4 * GIB)
    (folder / "broken.yaml").write_text("name: [unclosed\n")


def hole(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def instances(names: list[str], now: datetime, silent: bool) -> None:
    for number, (state, wanted, reason, attempt) in enumerate(INSTANCES):
        alive = state in {"ready", "loading", "starting", "stopping"}
        asked = now - timedelta(minutes=7 * number + 2)
        instance = Instance.objects.create(
            name=names[number],
            backend="llama-cpp",
            desired=wanted,
            desired_by=PEOPLE[number % 3],
            desired_at=asked,
            state=state,
            state_since=asked + timedelta(seconds=3),
            reason=reason,
            attempt=attempt,
            next_try_at=now + timedelta(minutes=30) if state == "backoff" else None,
            address=f"127.0.0.1:{40000 + number}" if alive else "",
            pid=20000 + number if alive else None,
            ready_at=asked if state == "ready" else None,
            last_used_at=asked if number % 2 else None,
        )
        steps = [
            ("stopped", "stopped", "load requested"),
            ("stopped", "starting", "the process was started"),
            ("starting", "loading", "the backend reads the model"),
            ("loading", state, reason or "it ended"),
        ]
        for step, (old, new, why) in enumerate(steps):
            InstanceEvent.objects.create(
                instance=instance,
                at=asked + timedelta(seconds=step),
                by="agent" if step else PEOPLE[number % 3],
                from_state=old,
                to_state=new,
                why=why,
            )
        if alive and not silent:
            samples(instance, now, number)


def samples(instance: Instance, now: datetime, number: int) -> None:
    memory = (2.5 + 3.1 * number) * GIB
    Sample.objects.bulk_create(
        Sample(
            instance=instance,
            at=now - timedelta(seconds=5 * step),
            cpu_percent=abs(60 * math.sin(step / 9 + number)) + RNG.random() * 30,
            rss=int(memory * (1 - 0.1 * math.exp(-abs(step) / 40))),
            processes=2,
        )
        for step in range(-240, 180)
    )


def host(now: datetime, silent: bool) -> None:
    """An hour of a node with two graphics cards. Samples of the future keep it from going silent under a test."""
    first = 0 if silent else -240
    HostSample.objects.bulk_create(
        HostSample(
            node=settings.NODE,
            at=now - timedelta(seconds=5 * step),
            cores=32,
            memory_total=128 * GIB,
            cpu_percent=35 + 20 * math.sin(step / 40) + RNG.random() * 8,
            memory_used=int((71 + 9 * math.sin(step / 90)) * GIB),
            disk_total=2000 * GIB,
            disk_free=int((61 + step / 100) * GIB),
            gpus=cards(step),
        )
        for step in range(first, 720)
    )


def cards(step: int) -> list[dict[str, Any]]:
    load = 55 + 40 * math.sin(step / 30)
    return [
        {
            "name": "NVIDIA RTX 6000 Ada Generation",
            "memory_total": 48 * GIB,
            "memory_used": int((31 + 6 * math.sin(step / 70)) * GIB),
            "load": load,
        },
        {"name": "NVIDIA GeForce RTX 4090", "memory_total": 24 * GIB, "memory_used": 21 * GIB, "load": None},
    ]
