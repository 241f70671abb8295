"""The jobs of the crowd: twelve under way in every state, three that failed, three hundred that are over."""

import random
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from gallery.models import Job, JobEvent, JobFile

GIB = 1 << 30
PEOPLE = ("ada", "grace", "a-person-with-a-long-name@example.org")
RNG = random.Random(7)


def active_jobs(names: list[str], now: datetime) -> None:
    """Twelve at once: a big one half done that is silent, and each other state."""
    big = job(
        names[0],
        "downloading",
        now - timedelta(minutes=42),
        bytes_total=231 * GIB,
        bytes_done=117 * GIB,
        speed=None,
        last_data_at=now - timedelta(seconds=40),
        message="",
    )
    for number in range(9):
        size = 25 * GIB if number else 6 * GIB
        done = size if number < 4 else int(size * 0.55) if number < 6 else 0
        status = "verified" if number < 4 else "downloading" if number < 6 else "waiting"
        JobFile.objects.create(
            job=big,
            position=number,
            filename=f"{names[0]}/{names[0]}-UD-Q4_K_XL-{number + 1:05}-of-00009.gguf",
            uri=f"https://huggingface.co/unsloth/{names[0]}-GGUF/resolve/main/{number + 1:05}-of-00009.gguf",
            sha256="ab" * 32,
            size=size,
            done=done,
            status=status,
        )
    fresh = now + timedelta(hours=1)
    moving = {"last_data_at": fresh, "heartbeat_at": fresh}
    job(
        names[1],
        "downloading",
        now - timedelta(minutes=5),
        bytes_total=18 * GIB,
        bytes_done=7 * GIB,
        speed=84e6,
        **moving,
    )
    job(names[2], "downloading", now - timedelta(minutes=1), bytes_done=int(1.2 * GIB), speed=11e6, **moving)
    job(
        names[3],
        "verifying",
        now - timedelta(minutes=9),
        bytes_total=9 * GIB,
        bytes_done=9 * GIB,
        message="checking 3 of 9 files",
    )
    job(
        names[4],
        "committing",
        now - timedelta(minutes=11),
        bytes_total=GIB,
        bytes_done=GIB,
        message="putting the files in place",
    )
    job(names[5], "resolving", now - timedelta(seconds=4), message="reading the recipe")
    job(
        names[6],
        "retrying",
        now - timedelta(minutes=20),
        bytes_total=40 * GIB,
        bytes_done=12 * GIB,
        attempt=2,
        next_try_at=now + timedelta(minutes=20),
        error="huggingface.co broke the line after 12.0 GiB.",
        action="It goes on from there by itself.",
    )
    job(
        names[7],
        "paused",
        now - timedelta(hours=2),
        bytes_total=70 * GIB,
        bytes_done=30 * GIB,
        message="paused; the bytes are kept",
    )
    job(
        names[8],
        "downloading",
        now - timedelta(minutes=3),
        bytes_total=5 * GIB,
        bytes_done=GIB,
        wanted="cancel",
        **moving,
    )
    for name in names[9:12]:
        job(name, "queued", now - timedelta(seconds=50))
    job(
        names[12],
        "failed",
        now - timedelta(hours=1),
        bytes_total=16 * GIB,
        bytes_done=3 * GIB,
        attempt=1,
        cause="space",
        error="The disk for models has 61.0 GiB free; this model needs 74.3 GiB more.",
        action="Delete models that nobody uses, then retry: what is here is kept.",
    )
    job(
        names[13],
        "failed",
        now - timedelta(hours=4),
        attempt=5,
        cause="digest",
        error=f"{names[13]}.Q4_K_M.gguf is not what was published: expected {'ab' * 32}, got {'cd' * 32}.",
        action="The suspect file is kept aside. Retry fetches it anew; if it differs again, tell the publisher.",
    )
    job(
        names[14],
        "failed",
        now - timedelta(days=1),
        attempt=1,
        cause="auth",
        error="huggingface.co wants a token for this model, and that its licence is accepted.",
        action="Accept the licence at https://huggingface.co/meta-llama, set HF_TOKEN and retry.",
    )


def job(subject: str, state: str, at: datetime, kind: str = "install", **fields: Any) -> Job:
    fields.setdefault("attempt", 1)
    made = Job.objects.create(
        kind=kind,
        subject=subject,
        request={"gallery": "localai", "name": subject},
        state=state,
        created_at=at,
        started_at=None if state == "queued" else at,
        changed_at=timezone.now(),
        by=RNG.choice(PEOPLE),
        **fields,
    )
    JobEvent.objects.create(job=made, at=at, by=made.by, to_state="queued", why="asked for")
    if state != "queued":
        JobEvent.objects.create(
            job=made,
            at=made.finished_at or at + timedelta(seconds=1),
            by="worker",
            from_state="queued" if state == "resolving" else "resolving",
            to_state=state,
            why=made.error or made.message,
        )
    return made


def record(names: list[str], now: datetime) -> None:
    for number in range(300):
        at = now - timedelta(hours=2 + 3 * number)
        state = "failed" if number % 11 == 5 else "cancelled" if number % 13 == 7 else "done"
        kind = "delete" if number % 7 == 3 else "refresh" if number % 9 == 4 else "install"
        size = (number % 40) * GIB if kind == "install" else 0
        job(
            "localai" if kind == "refresh" else names[number % 120],
            state,
            at,
            kind=kind,
            finished_at=at + timedelta(seconds=30 + 7 * number),
            dismissed=state == "failed",
            bytes_total=size or None,
            bytes_done=size,
            message={"done": "installed" if kind == "install" else ""}.get(state, ""),
            error="huggingface.co answered 503 five times." if state == "failed" else "",
        )
