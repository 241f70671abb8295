"""Why the work on a job should end before it is done, and how a worker gets to know."""

from threading import Event
from time import monotonic
from uuid import UUID

from gallery.models import Job
from gallery.states import Wanted

#: The row is asked for a person's wish at most this often. Seconds.
LOOK = 0.5


class LetGo(Exception):
    """The worker should let go of the job."""


class Cancelled(LetGo):
    """Somebody called the job off."""


class Paused(LetGo):
    """Somebody lets the job rest: its bytes stay."""


class Stopped(LetGo):
    """The worker is told to stop; the job goes back in the queue."""


class Lost(LetGo):
    """Another worker holds the job now, or it has ended: nothing more may be written about it."""


class Intent(Event):
    """Set once the work should end, for whatever reason. Asking looks at the job's row now and then."""

    def __init__(self, job_id: UUID, lease: str, stopping: Event) -> None:
        super().__init__()
        self._job_id, self._lease, self._stopping = job_id, lease, stopping
        self._looked = float("-inf")
        self.reason: type[LetGo] | None = None

    def end(self, reason: type[LetGo]) -> None:
        self.reason = self.reason or reason
        self.set()

    def is_set(self) -> bool:
        if self._stopping.is_set():
            self.end(Stopped)
        if monotonic() - self._looked >= LOOK:
            self.look()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """As of an event; returns at most half a second after the wish was written."""
        deadline = float("inf") if timeout is None else monotonic() + timeout
        while not self.is_set() and (left := deadline - monotonic()) > 0:
            super().wait(min(left, LOOK))
        return self.is_set()

    def look(self) -> None:
        """Read the row now."""
        self._looked = monotonic()
        row = Job.objects.filter(pk=self._job_id).values_list("worker", "wanted").first()
        if row is None or row[0] != self._lease:
            self.end(Lost)
        elif row[1] == Wanted.CANCEL:
            self.end(Cancelled)
        elif row[1] == Wanted.PAUSE:
            self.end(Paused)
