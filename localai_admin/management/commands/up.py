"""`localai-admin up`: the whole console with nothing set."""

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from gallery.services.refresh import sync_from_settings
from localai_admin.lib.supervise import Child
from team import invitations

#: Of a key for a console that others can reach. Characters.
MIN_KEY = 32
#: How long the port may still be in use at the start. The web process ends its last answers in four seconds.
PORT_SECONDS = 6.0


class Command(BaseCommand):
    help = "Prepare the data folder, then run web, worker and agent until Ctrl-C."
    #: Checks are for who changes the code, and load every page, which takes a second.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep-backends", action="store_true", help="leave loaded models running when stopped")

    def handle(self, *args: Any, keep_backends: bool, **options: Any) -> None:
        refuse_public_address_without_key()
        for folder in (settings.MODELS_PATH, settings.BACKENDS_PATH, settings.LOGS_PATH, settings.STARTER_PATH):
            make_folder(folder)
        lock = only_one(settings.DATA / "run" / "up.lock")
        refuse_port_in_use(settings.HOST, settings.PORT)
        prepare()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(settings.METRICS_PATH)
        spec = {
            "children": [vars(child) for child in children(keep_backends)],
            "host": "127.0.0.1" if settings.HOST in {"0.0.0.0", "::"} else settings.HOST,  # noqa: S104 - compared only
            "port": settings.PORT,
            "sentence": greeting(),
        }
        os.set_inheritable(lock, True)
        os.execv(  # noqa: S606 - becomes the small process that watches the others
            sys.executable, [sys.executable, "-m", "localai_admin.lib.supervise", json.dumps(spec)]
        )


def refuse_public_address_without_key() -> None:
    if settings.IS_LOCAL:
        return
    if settings.DEBUG:
        raise CommandError(
            f"{settings.ADDRESS} can be reached from other machines, and LOCALAI_ADMIN_DEBUG shows everybody the "
            "inside of the console. Unset it, or listen on 127.0.0.1."
        )
    missing = [
        name
        for name, is_set in (
            (f"LOCALAI_ADMIN_SECRET_KEY (a random text of {MIN_KEY} characters or more)", has_good_key()),
            ("LOCALAI_ADMIN_HOSTS (the names people call it by, with commas; not *)", settings.HOSTS_ARE_SET),
        )
        if not is_set
    ]
    if missing:
        raise CommandError(
            f"{settings.ADDRESS} can be reached from other machines, which is not safe before you set "
            f"{' and '.join(missing)}. Set them, or listen on 127.0.0.1 behind a proxy."
        )


def has_good_key() -> bool:
    return settings.SECRET_KEY_IS_SET and len(settings.SECRET_KEY) >= MIN_KEY


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"The folder {folder} cannot be made: {error.strerror}. Make it, or name another.") from None


def only_one(path: Path) -> int:
    """Hold the lock of the data folder for as long as this process, and what it becomes, lives."""
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise CommandError(
            f"The data folder {settings.DATA} cannot be written to: {error.strerror}. "
            "Set LOCALAI_ADMIN_DATA to a folder you can write to."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CommandError(
            f"The data folder {settings.DATA} is in use by another `localai-admin up`. "
            "Stop that one, or set LOCALAI_ADMIN_DATA to a folder of its own."
        ) from None
    return descriptor


def refuse_port_in_use(host: str, port: int) -> None:
    """Refuse after a while: what a console that was killed has left is ending, and lets go of the port by itself."""
    end = time.monotonic() + PORT_SECONDS
    while True:
        try:
            listen(host, port)
        except OSError as error:
            if time.monotonic() >= end:
                raise CommandError(
                    f"Nothing can listen on {host}:{port}: {error.strerror}. "
                    "Stop what uses it, or set LOCALAI_ADMIN_ADDRESS to another address, such as 127.0.0.1:8001."
                ) from None
            time.sleep(0.2)
        else:
            return


def listen(host: str, port: int) -> None:
    """Raises OSError when the port is not free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def prepare() -> None:
    try:
        call_command("migrate", interactive=False, verbosity=0)
        sync_from_settings()
    except DatabaseError as error:
        raise CommandError(
            f"The database {settings.DATABASES['default']['NAME']} cannot be used: {error}. End what holds it, put a "
            "copy of it back, or move it away to begin anew."
        ) from None
    collect_static()
    shutil.rmtree(settings.METRICS_PATH, ignore_errors=True)
    make_folder(settings.METRICS_PATH)


def collect_static() -> None:
    """Compress and fingerprint the static files, when any of them has changed since the last time."""
    mark = Path(settings.STATIC_ROOT) / ".collected"
    now = "\n".join(sorted(static_files()))
    if mark.exists() and mark.read_text() == now:
        return
    # Gone before the files are: a start that is killed in the middle is made good by the next.
    mark.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    mark.write_text(now)


def static_files() -> Iterator[str]:
    for finder in finders.get_finders():
        for path, storage in finder.list([]):
            stat = Path(storage.path(path)).stat()
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}"


def children(keep_backends: bool) -> list[Child]:
    """Web, worker and agent, in the order they are stopped in."""
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    agent = [*manage, "run_agent", *(["--keep-backends"] if keep_backends else [])]
    return [
        Child("web", web_command()),
        # A check would load every page into the worker.
        Child("worker", [*manage, "run_huey", "-f", "-g", "TERM", "-t", "5", "--quiet", "--skip-checks"]),
        # An agent whose watcher was killed lets its backends live; the next one adopts them.
        Child("agent", agent, stop_seconds=settings.BACKEND_STOP_SECONDS + 20.0, orphan_signal=signal.SIGHUP),
    ]


def web_command() -> list[str]:
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", settings.HOST, "--port", str(settings.PORT),
        "--workers", str(settings.WEB_WORKERS), "--blocking-threads", str(settings.WEB_THREADS), "--no-ws",
        "--workers-kill-timeout", "4", "--respawn-failed-workers", "--log-level", "error",
        "--working-dir", str(settings.BASE_DIR), "localai_admin.wsgi:application",
    ]  # fmt: skip


def greeting() -> str:
    address = f"http://{settings.ADDRESS}/"
    lines = [f"LocalAI Admin is at {address}"]
    if not invitations.somebody_is_here():
        lines.append(
            f"Make the first administrator (works once, for a day): {address}welcome/{invitations.make_token()}/"
        )
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)
