"""What a page says of a job's progress: bar, speed, time left, silence. Nothing here asks the database."""

from dataclasses import dataclass
from datetime import datetime

from gallery.models import Job, JobFile
from gallery.states import Kind, State

#: Silence shorter than this is no news. Seconds.
QUIET_SECONDS = 5.0
#: What is said of a file that needs nothing more.
WHOLE = frozenset({"verified", "already here", "deleted"})
#: What is said of a file while somebody works on it, and what instead when nobody does.
_AT_WORK = frozenset({"checking", "downloading", "verifying"})
_AT_REST = {State.PAUSED: "paused", State.QUEUED: "waiting", State.RETRYING: "waiting"}
#: An unfinished bar stops here: it is full when every digest matched and the files are in place.
_NEARLY = 0.99


@dataclass(frozen=True)
class Figures:
    """Bytes, bytes a second, seconds; None where it is not known or makes no sense now."""

    done: int
    total: int | None
    bar_value: int | None
    bar_tone: str
    shows_bar: bool
    percent: int | None
    speed: float | None
    time_left: float | None
    silent_for: float | None
    changes_with_time: bool


def figures(job: Job, now: datetime) -> Figures:
    silent = _silence(job, now)
    speed = job.speed if job.state == State.DOWNLOADING and silent is None else None
    total = job.bytes_total
    left = (total - job.bytes_done) / speed if speed and total is not None and total > job.bytes_done else None
    value = _bar_value(job)
    return Figures(
        done=job.bytes_done,
        total=total,
        bar_value=value,
        bar_tone=_tone(job),
        shows_bar=job.is_working or bool(total and job.bytes_done),
        percent=value * 100 // total if value is not None and total and (value or job.is_active) else None,
        speed=speed,
        time_left=left,
        silent_for=silent,
        changes_with_time=silent is not None or job.state == State.RETRYING,
    )


@dataclass(frozen=True)
class FileFigures:
    """A file's own bar. `value` is None while its size is unknown; `status` is a word for a person."""

    file: JobFile
    name: str
    status: str
    without_digest: bool
    whole: bool
    value: int | None
    tone: str
    shows_bar: bool


def common_folder(names: list[str]) -> str:
    """The folder that all of several files lie in, with its slash; empty when there is none."""
    folders = {name.rpartition("/")[0] for name in names}
    return f"{folders.pop()}/" if len(names) > 1 and len(folders) == 1 and "" not in folders else ""


def file_figures(job: Job, file: JobFile, folder: str = "") -> FileFigures:
    """`folder` is said once for all files, and left out of the name."""
    whole = file.status in WHOLE
    tone = "ready" if whole or job.state == State.DONE else _tone(job)
    value = None if file.size is None else min(file.done, file.size)
    without_digest = job.kind == Kind.INSTALL and not file.sha256
    return FileFigures(
        file=file,
        name=file.filename.removeprefix(folder),
        status=_status(job, file, without_digest),
        without_digest=without_digest,
        whole=whole,
        value=value,
        tone=tone,
        shows_bar=bool(file.size) or (job.is_working and file.done > 0),
    )


def _status(job: Job, file: JobFile, without_digest: bool) -> str:
    if file.status in _AT_WORK and not job.is_working:
        return _AT_REST.get(State(job.state), "not whole")
    # Nobody has verified what there was no digest for.
    return "whole" if without_digest and file.status == "verified" else file.status


def most_telling(rows: list[FileFigures], count: int) -> list[FileFigures]:
    """So many of the rows, in their order: what something happens to comes first, then what waits, then the rest."""
    interest = {"waiting": 1, "": 1}
    chosen = sorted(rows, key=lambda row: 2 if row.whole else interest.get(row.status, 0))[:count]
    return sorted(chosen, key=lambda row: row.file.position)


def already_here(files: list[JobFile]) -> int:
    """Bytes that did not have to be fetched."""
    return sum(file.size or file.done for file in files if file.status == "already here")


def _bar_value(job: Job) -> int | None:
    if job.bytes_total is None:
        return None
    if job.state == State.DONE:
        return job.bytes_total
    return min(job.bytes_done, int(job.bytes_total * _NEARLY))


def _tone(job: Job) -> str:
    if job.state == State.DONE:
        return "ready"
    if job.state == State.FAILED:
        return "failed"
    return "" if job.is_working else "waiting"


def _silence(job: Job, now: datetime) -> float | None:
    """Seconds without data, once they are worth a word."""
    if job.state != State.DOWNLOADING or job.last_data_at is None:
        return None
    silent = (now - job.last_data_at).total_seconds()
    return silent if silent >= QUIET_SECONDS else None
