"""How a worker holds a job, and the one place where the end of its work becomes a state."""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DatabaseError, OperationalError, connection, transaction
from django.utils import timezone

from gallery.catalog.errors import CatalogError
from gallery.downloads.errors import DownloadError
from gallery.models import Job, JobFile
from gallery.services import jobs, leftovers, worker
from gallery.services.errors import DatabaseAway, JobError
from gallery.services.intent import Cancelled, Intent, LetGo, Lost, Paused, Stopped
from gallery.states import WORKING, State, Wanted

log = logging.getLogger(__name__)

#: Seconds between two signs of life; six of them can be missed before the job is given to another worker.
HEARTBEAT = 5.0
#: Progress is written once a second, or sooner at a new percent, but never more often than this. Seconds.
WRITE, WRITE_AT_LEAST = 1.0, 0.2
TRIES = 5
#: The wait after the first failed try; it doubles with each. Seconds.
FIRST_WAIT, LONGEST_WAIT = 8.0, 300.0


class FileProgress(NamedTuple):
    """How much of a file is here: bytes, its size where known, and a word for a person."""

    filename: str
    done: int
    size: int | None
    status: str


class JobRun:
    """One try of a job by this process, from the claim until the worker lets go."""

    def __init__(self, job: Job, stopping: Event | None = None) -> None:
        self.job = job
        self.lease = worker.new_lease()
        self.stop = Intent(job.pk, self.lease, stopping or Event())
        self._written_at = float("-inf")
        self._percent = -1
        self._fetched_before = job.bytes_fetched
        self._files: dict[str, FileProgress] = {}
        self._unwritten: Callable[[], None] | None = None

    def claim(self, is_its_turn: Callable[[Job], bool] = lambda _: True) -> bool:
        """Take a queued job. Returns False when somebody else was first, or when it is not its turn.

        Both are decided in one transaction, so that of two who ask at once the second sees what the first took.
        """
        now, attempt = timezone.now(), self.job.attempt + 1
        fresh: dict[str, Any] = {"worker": self.lease, "heartbeat_at": now, "attempt": attempt, "next_try_at": None}
        fresh |= {"started_at": self.job.started_at or now, "message": "Finding out what is needed"}
        why = f"try {attempt} by worker {worker.process_of(self.lease)}"
        with transaction.atomic():
            return is_its_turn(self.job) and self.job.move(State.QUEUED, State.RESOLVING, why, **fresh)

    @contextmanager
    def heart(self) -> Iterator[None]:
        """Give a sign of life every few seconds, whatever the work is busy with."""
        over = Event()
        thread = Thread(target=self._beat, args=(over,), name=f"heartbeat-{self.job.pk}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=HEARTBEAT)

    def check(self) -> None:
        """Raises a LetGo when the work should end. Cheap enough for every megabyte."""
        if self.stop.is_set() and self.stop.reason:
            raise self.stop.reason

    def move(self, new: State, why: str = "", message: str = "", **fields: Any) -> None:
        """Go to the next state. Raises Lost when the job is another's, another LetGo when a commit is not wanted."""
        held = Job.objects.filter(pk=self.job.pk, worker=self.lease)
        if new == State.COMMITTING:
            # From here on it cannot be called off: what was wished until now comes first.
            self.check()
            held = held.filter(wanted=Wanted.RUN)
        with transaction.atomic():
            # The update comes first: it holds the row until the move is written.
            moved = held.update(heartbeat_at=timezone.now()) and self.job.move(
                State(self.job.state), new, why, message=message[:500], **fields
            )
        if not moved:
            self.stop.look()
            self.check()
            raise Lost

    def say(self, message: str) -> None:
        """What is being done, in a few words."""
        self._update(message=message[:500])

    def plan(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows of the job's files anew: maps with filename, uri and, where known, sha256 and size."""
        rows = [JobFile(job=self.job, position=n, status="waiting", **file) for n, file in enumerate(files)]
        with transaction.atomic():
            JobFile.objects.filter(job=self.job).delete()
            JobFile.objects.bulk_create(rows)
        self._files = {}

    def progress(
        self,
        done: int,
        total: int | None,
        *,
        speed: float | None = None,
        fetched: int = 0,
        last_data_at: datetime | None = None,
        files: Iterable[FileProgress] = (),
        final: bool = False,
    ) -> None:
        """Write how far it is, unless that was written a moment ago. All sizes are bytes, the speed bytes a second.

        The bar never goes back within a try: fewer bytes than before are shown as before. `final` writes in any case.
        `fetched` is what came over the wire in this try.
        """
        percent = int(100 * done / total) if total else -1
        since = monotonic() - self._written_at
        due = since >= WRITE or (percent > self._percent and since >= WRITE_AT_LEAST)
        if not (due or final):
            again = partial(self.progress, done, total, fetched=fetched, last_data_at=last_data_at, files=tuple(files))
            self._unwritten = partial(again, final=True)
            return
        self._unwritten = None
        self._written_at, self._percent = monotonic(), percent
        done = max(done, self.job.bytes_done if self.job.bytes_total == total else 0)
        with transaction.atomic():
            all_fetched = self._fetched_before + fetched
            self._update(
                bytes_done=done, bytes_total=total, bytes_fetched=all_fetched, speed=speed, last_data_at=last_data_at
            )
            for file in files:
                self._write_file(file)
        self.job.bytes_done, self.job.bytes_total = done, total

    def catch_up(self) -> None:
        """Write the progress that came too soon after the last that was written. Raises a LetGo as `move` does."""
        if self._unwritten:
            self._unwritten()

    def _write_file(self, file: FileProgress) -> None:
        if self._files.get(file.filename) != file:
            self._files[file.filename] = file
            JobFile.objects.filter(job=self.job, filename=file.filename).update(
                done=file.done, size=file.size, status=file.status[:40]
            )

    def _update(self, **fields: Any) -> None:
        held = Job.objects.filter(pk=self.job.pk, worker=self.lease, state__in=WORKING)
        if not held.update(changed_at=timezone.now(), **fields):
            self.stop.look()
            self.check()
            raise Lost

    def _beat(self, over: Event) -> None:
        try:
            while not over.wait(HEARTBEAT):
                self._beat_once()
        finally:
            connection.close()

    def _beat_once(self) -> None:
        held = Job.objects.filter(pk=self.job.pk, worker=self.lease, state__in=WORKING)
        try:
            held.update(heartbeat_at=timezone.now())
        except DatabaseError:
            log.warning("The heartbeat of job %s could not be written", self.job.pk, exc_info=True)


def run(
    job_id: UUID,
    work: Callable[[JobRun], str],
    stopping: Event | None = None,
    is_its_turn: Callable[[Job], bool] = lambda _: True,
) -> float | None:
    """Claim the job, do the work, and write how it ended. Harmless when somebody else has the job.

    `work` returns what was done, in a few words, with the job in COMMITTING. Returns the seconds until the next try
    when there will be one, else None.
    """
    job = Job.objects.filter(pk=job_id).first()
    if job is None or not is_ready(job):
        return None
    held = JobRun(job, stopping)
    if not held.claim(is_its_turn):
        return None
    with held.heart():
        return _work_and_settle(held, work)


def is_ready(job: Job) -> bool:
    """Whether the job is queued, or was waiting for a next try whose time has come."""
    if job.state == State.RETRYING and job.next_try_at and job.next_try_at <= timezone.now() + timedelta(seconds=1):
        return jobs.end_wait(job)
    return job.state == State.QUEUED


def _work_and_settle(held: JobRun, work: Callable[[JobRun], str]) -> float | None:
    try:
        try:
            held.check()
            done = work(held)
            held.move(State.DONE, done, done, cause="", error="", action="", speed=None)
            # Only now: until it is recorded that all is in place, the job's folder is what tells.
            leftovers.discard(held.job)
        except (DownloadError, CatalogError, JobError) as error:
            return _failed(held, error)
        except OperationalError as error:
            return _failed(held, DatabaseAway(f"The database did not answer: {error}.", "It is tried again by itself."))
    except Cancelled:
        _cancelled(held)
    except Paused:
        _paused(held)
    except Stopped:
        jobs.hand_back(held.job.pk, "its worker was told to stop")
    except Lost:
        log.info("Job %s is no longer held by this worker", held.job.pk)
    except OperationalError as error:
        # It still does not answer, so that nothing can be recorded; without a heartbeat the job is found again.
        log.warning("%s (job %s) is left until the database answers again: %s.", held.job, held.job.pk, error)
    except Exception as error:
        # The edge of the worker's loop: whatever it was, the job must not stay at work.
        log.exception("Job %s (%s) failed unexpectedly", held.job.pk, held.job)
        _failed_unexpectedly(held, error)
    return None


def _failed(held: JobRun, error: DownloadError | CatalogError | JobError) -> float | None:
    held.stop.look()
    if held.job.state != State.COMMITTING:
        held.check()
    attempt = jobs.failures(held.job) + 1
    facts: dict[str, Any] = {"cause": error.cause[:40], "error": str(error), "action": error.action, "speed": None}
    if not error.retry or attempt >= TRIES:
        held.move(State.FAILED, str(error), **facts)
        log.warning("%s (job %s) failed: %s %s", held.job, held.job.pk, error, error.action)
        return None
    delay = wait_before(attempt + 1, error.retry_after)
    message = f"Try {attempt + 1} of {TRIES} in {delay:.0f} s"
    # Tries whose worker died are not among those that people are told of.
    facts |= {"next_try_at": timezone.now() + timedelta(seconds=delay), "worker": "", "attempt": attempt}
    held.move(State.RETRYING, str(error), message, **facts)
    log.warning("%s (job %s): %s %s %s.", held.job, held.job.pk, error, error.action, message)
    return delay


def _cancelled(held: JobRun) -> None:
    leftovers.discard(held.job)
    try:
        held.move(State.CANCELLED, "the worker let go", "Cancelled", speed=None, bytes_done=0)
    except LetGo:
        log.info("Job %s was ended by somebody else", held.job.pk)


def _paused(held: JobRun) -> None:
    """The bytes stay, and the try is not counted. What was wished in the meantime is done at once."""
    if held.job.state == State.COMMITTING:
        jobs.hand_back(held.job.pk, "a pause came when its files were being put in place")
        return
    rests = {"speed": None, "worker": "", "attempt": max(held.job.attempt - 1, 0)}
    try:
        held.catch_up()
        held.move(State.PAUSED, "the worker let go", jobs.paused_by(held.job), **rests)
    except LetGo:
        log.info("Job %s was ended by somebody else", held.job.pk)
        return
    held.job.refresh_from_db()
    jobs.settle(held.job)


def _failed_unexpectedly(held: JobRun, error: Exception) -> None:
    try:
        held.move(
            State.FAILED,
            f"{type(error).__name__}: {error}",
            cause="internal",
            error=f"The console failed at this: {type(error).__name__}: {error}",
            action="Retry; if it fails again, the worker's log has the details.",
            speed=None,
        )
    except (LetGo, DatabaseError):
        log.warning("The failure of job %s could not be written", held.job.pk, exc_info=True)


def wait_before(attempt: int, asked: float | None = None) -> float:
    """Seconds to wait before this try, from 2 on: doubling, a quarter more or less, never less than asked for."""
    wait: float = min(FIRST_WAIT * 2 ** (attempt - 2), LONGEST_WAIT)
    return max(wait * random.uniform(0.75, 1.25), asked or 0.0)  # noqa: S311 - spreads load, guards nothing
