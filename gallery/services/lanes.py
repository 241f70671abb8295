"""Long jobs, each on a thread of its own, so that the threads of the queue stay free for what is short.

A message about a long job only says that the queue of jobs has changed; which of them begin, their rows tell.
"""

import logging
import time
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread
from uuid import UUID

from django.db import DatabaseError, connections

log = logging.getLogger(__name__)

#: Seconds between two looks at the limits and the queue, while there is work.
LOOK = 1.0


class Lanes:
    """The threads of this process that do long jobs. There are none while there is nothing to do.

    `due` names the jobs that may begin; it is asked when something has changed and once a second while any is at
    work, so that another limit holds at once. `work` does one job, and returns when this process has let go of it.
    """

    def __init__(self, work: Callable[[UUID], None], due: Callable[[], Iterable[UUID]]) -> None:
        self._work, self._due = work, due
        self._lock = Lock()
        self._threads: dict[UUID, Thread] = {}
        self._keeper: Thread | None = None
        self._closed = Event()

    def fill(self) -> None:
        """Begin with every job that may."""
        for job_id in self._due():
            self.begin(job_id)

    def begin(self, job_id: UUID) -> None:
        """Begin with a job, unless a thread of this process has it."""
        with self._lock:
            if self._closed.is_set() or job_id in self._threads:
                return
            self._threads[job_id] = _started(self._run, job_id)
            self._keeper = self._keeper or _started(self._keep)

    def close(self, seconds: float) -> list[UUID]:
        """Begin with nothing more, and wait for those at work. Returns the jobs that were not let go of in time.

        They get to know of the stop by themselves. Called again, it returns at once.
        """
        with self._lock:
            if self._closed.is_set():
                return []
            self._closed.set()
            threads = dict(self._threads)
        end = time.monotonic() + seconds
        for thread in threads.values():
            thread.join(max(end - time.monotonic(), 0))
        return [job_id for job_id, thread in threads.items() if thread.is_alive()]

    def _run(self, job_id: UUID) -> None:
        try:
            _despite_the_database(lambda: self._work(job_id))
            with self._lock:
                del self._threads[job_id]
            _despite_the_database(self.fill)
        finally:
            with self._lock:
                self._threads.pop(job_id, None)
            connections.close_all()

    def _keep(self) -> None:
        try:
            while not self._closed.wait(LOOK) and self._is_busy():
                _despite_the_database(self.fill)
        finally:
            connections.close_all()

    def _is_busy(self) -> bool:
        with self._lock:
            if not self._threads:
                self._keeper = None
            return bool(self._threads)


def _despite_the_database(act: Callable[[], None]) -> None:
    """What is not done because the database does not answer is done later: jobs that wait are found every minute."""
    try:
        act()
    except DatabaseError as error:
        log.warning("The queue of jobs could not be looked at: %s", error)


def _started(target: Callable[..., None], *arguments: UUID) -> Thread:
    name = "-".join(["lane", *map(str, arguments)])
    # A daemon: one that does not let go in time must not keep the process alive.
    thread = Thread(target=target, args=arguments, name=name, daemon=True)
    thread.start()
    return thread
