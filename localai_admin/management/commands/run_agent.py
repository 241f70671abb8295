"""`localai-admin run_agent`: the one process that owns the backends of this node."""

import fcntl
import logging
import os
import signal
from argparse import ArgumentParser
from pathlib import Path
from threading import Event, Thread
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from localai_admin.lib import signals
from models.runtime.environment import backend_environment
from models.runtime.identity import owner_id
from models.runtime.launch import Layout
from models.runtime.supervisor import Supervisor
from models.store import DatabaseStore
from monitor.services import sample

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 2.0


class Command(BaseCommand):
    help = "Start, watch and stop the backends of this node. SIGTERM stops them with it, SIGHUP leaves them running."
    #: Checks load every page; the agent has none, and stays small without.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep-backends", action="store_true", help="leave backends running at SIGTERM, too")

    def handle(self, *args: Any, keep_backends: bool, **options: Any) -> None:
        run_folder = settings.DATA / "run"
        lock = only_agent(run_folder)
        stop = Event()
        received = signals.set_at(stop, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        supervisor = Supervisor(DatabaseStore(), layout(run_folder))
        sampler = Thread(target=keep_sampling, args=(stop,), name="sample", daemon=True)
        sampler.start()
        try:
            supervisor.run(stop)
        finally:
            stop.set()
            supervisor.shutdown(keep_backends=keep_backends or signal.SIGHUP in received)
            sampler.join(SAMPLE_SECONDS)
            os.close(lock)


def only_agent(folder: Path) -> int:
    """Hold the lock of this node's backends for as long as this process lives."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(folder / "agent.lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise CommandError(
            f"Another agent (process {owner}) already looks after the backends of {settings.DATA}. "
            "Stop that one, or set LOCALAI_ADMIN_DATA to a folder of its own."
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def layout(run_folder: Path) -> Layout:
    return Layout(
        owner=owner_id(run_folder),
        backends=(settings.BACKENDS_PATH, *settings.SYSTEM_BACKENDS),
        models=settings.MODELS_PATH,
        logs=settings.LOGS_PATH,
        environment=backend_environment(
            os.environ, models_path=settings.MODELS_PATH, names=settings.BACKEND_ENVIRONMENT
        ),
        threads=settings.BACKEND_THREADS,
        context_size=settings.BACKEND_CONTEXT_SIZE,
        start_seconds=settings.BACKEND_START_SECONDS,
        load_seconds=settings.BACKEND_LOAD_SECONDS,
        stop_seconds=settings.BACKEND_STOP_SECONDS,
    )


def keep_sampling(stop: Event) -> None:
    """Record what host and backends use, in a thread of its own: a slow look must not hold up the backends."""
    while not stop.wait(SAMPLE_SECONDS):
        try:
            sample()
        except Error as error:
            connection.close()
            log.warning("Nothing was sampled: the database does not answer: %s", error)
        except Exception:
            log.exception("Nothing was sampled.")
    connection.close()
