"""The lists of jobs: what is in each tab, and how many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from urllib.parse import urlencode

from django.db.models import Count, Q, QuerySet, Subquery
from django.http import QueryDict

from gallery.models import Job, JobEvent
from gallery.states import ACTIVE, ENDED, IN_LINE, PAUSABLE, PAUSABLE_KINDS, WORKING, Kind, State, Wanted
from localai_admin.lib.parameters import page_number, words

PROGRESS, ATTENTION, RECORD = "progress", "attention", "record"
TABS = (PROGRESS, ATTENTION, RECORD)
PAGE_SIZE = 40
MAX_PAGE = 100_000
#: What has ended stays in place for so long.
LINGER = timedelta(seconds=60)
#: The record is not counted further than this: nobody compares a million with a million and one.
COUNTED = 999
#: In the filter by person: jobs that the console began by itself.
CONSOLE = "-"


@dataclass(frozen=True)
class Asked:
    """A tab with its filters. Every field is one parameter of the URL."""

    tab: str = PROGRESS
    q: str = ""
    state: str = ""
    kind: str = ""
    by: str = ""
    page: int = 1

    @classmethod
    def read(cls, params: QueryDict) -> Self:
        tab, state, kind = (params.get(key, "") for key in ("tab", "state", "kind"))
        return cls(
            tab=tab if tab in TABS else PROGRESS,
            q=words(params.get("q", ""), 100),
            state=state if state in set(ENDED) else "",
            kind=kind if kind in set(Kind) else "",
            by=words(params.get("by", ""), 150),
            page=page_number(params.get("page", ""), MAX_PAGE),
        )

    @property
    def is_filtered(self) -> bool:
        return bool(self.q or self.state or self.kind or self.by)

    def query_string(self, page: int = 1, version: str = "") -> str:
        pairs = [("tab", self.tab), ("q", self.q), ("state", self.state), ("kind", self.kind), ("by", self.by)]
        pairs += [("page", str(page) if page > 1 else ""), ("v", version)]
        return "?" + urlencode([(key, value) for key, value in pairs if value])


@dataclass(frozen=True)
class Now:
    """How many jobs the tabs hold, in one query, and how many of the places for long ones are taken."""

    active: int
    attention: int
    at_work: int
    paused: int
    pausable: int


def now() -> Now:
    found = Job.objects.filter(Q(state__in=ACTIVE) | _attention()).aggregate(
        active=Count("pk", filter=Q(state__in=ACTIVE)),
        attention=Count("pk", filter=_attention()),
        at_work=Count("pk", filter=Q(state__in=WORKING, kind__in=IN_LINE)),
        paused=Count("pk", filter=Q(state__in=ACTIVE, wanted=Wanted.PAUSE)),
        pausable=Count("pk", filter=Q(state__in=PAUSABLE, wanted=Wanted.RUN, kind__in=PAUSABLE_KINDS)),
    )
    return Now(**found)


def in_progress(moment: datetime) -> list[Job]:
    """Every active job and those that ended a moment ago, in the order of the queue: what is at work came first."""
    found = Job.objects.filter(Q(state__in=ACTIVE) | _just_ended(moment))
    return list(found.order_by("rank", "created_at", "pk")[:500])


def marks(job: Job) -> tuple[object, ...]:
    """What tells whether a job looks different from before. Of two changes at one moment one is seen in the rest."""
    return job.pk, job.changed_at, job.state, job.wanted, job.rank, job.bytes_done, job.message, job.dismissed


def needing_attention(page: int) -> tuple[list[Job], bool]:
    """A page of failed jobs that nobody put aside, and whether there are more."""
    return _page(Job.objects.needs_attention(), page)


def record(asked: Asked) -> tuple[list[Job], bool]:
    """A page of what has ended, the newest first, and whether there is more. Never counts, however long it is."""
    found = Job.objects.filter(state=asked.state) if asked.state else Job.objects.ended()
    if asked.kind:
        found = found.filter(kind=asked.kind)
    if asked.by:
        found = found.filter(by="" if asked.by == CONSOLE else asked.by)
    if asked.q:
        found = found.filter(subject__icontains=asked.q)
    return _page(found, asked.page)


def record_count() -> str:
    """How many jobs have ended: 12, or 999+."""
    count = len(Job.objects.ended().order_by().values_list("pk")[: COUNTED + 1])
    return f"{COUNTED}+" if count > COUNTED else str(count)


def places(jobs: Sequence[Job]) -> dict[str, int]:
    """The place of each long job that waits for its turn, by its id; the jobs are in the order of the queue."""
    queued = [job for job in jobs if job.can_be_moved]
    return {str(job.pk): place for place, job in enumerate(queued, start=1)}


def _attention() -> Q:
    return Q(state=State.FAILED, dismissed=False)


def _just_ended(moment: datetime) -> Q:
    """By way of the events, which are found by their time. A condition on the state would lead away from the key."""
    events = JobEvent.objects.filter(at__gte=moment - LINGER, to_state__in=ENDED)
    return Q(pk__in=Subquery(events.order_by().values("job_id")))


def _page(found: QuerySet[Job], page: int) -> tuple[list[Job], bool]:
    start = (page - 1) * PAGE_SIZE
    rows = list(found.order_by("-created_at")[start : start + PAGE_SIZE + 1])
    return rows[:PAGE_SIZE], len(rows) > PAGE_SIZE
