"""Who holds a job: node, pid and start time of the process, and a token of the one try."""

import os
import secrets
from functools import lru_cache

from django.conf import settings

from models.runtime.identity import Identity


@lru_cache(maxsize=1)
def _process(pid: int) -> str:
    identity = Identity.of(pid)
    return f"{settings.NODE}:{pid}:{identity.started if identity else 0:.2f}"


def this_process() -> str:
    """node:pid:starttime of the running process."""
    return _process(os.getpid())


def new_lease() -> str:
    """node:pid:starttime:token. No two tries have the same, not even in one process."""
    return f"{this_process()}:{secrets.token_hex(4)}"


def process_of(lease: str) -> str:
    """node:pid:starttime of the process that holds the lease, as events name it."""
    return lease.rpartition(":")[0] or "unknown"


def is_dead(lease: str) -> bool:
    """Whether the lease's process is known to be gone: one of this node that is not there any more.

    Of a worker of another node, or a lease that cannot be read, only the heartbeat can tell.
    """
    try:
        node, pid, started, _ = lease.split(":")
        return node == settings.NODE and not Identity(int(pid), float(started)).is_alive()
    except ValueError:
        return False
