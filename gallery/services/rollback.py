"""The way back: an earlier revision of a model takes its place again, and what is there now is kept."""

from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from gallery.downloads.faults import local_faults
from gallery.downloads.store import Ingest
from gallery.models import Job, Revision
from gallery.services import deletions, exchange, installs, jobs, kept, models_folder, revisions
from gallery.services.errors import JobError
from gallery.services.running import JobRun
from gallery.states import Kind, State
from localai_admin.lib.paths import file_name_for_model


class CannotRollBack(JobError):
    """The earlier revision is not whole any more, or something else has its place. Install the model instead."""

    cause = "cannot roll back"


def request_rollback(name: str, number: int, by: AbstractBaseUser | None) -> Job:
    """Bring an earlier revision back. Raises JobError: when it is not kept, not whole, or not alone in its place."""
    revision = _kept(name, number)
    installs.refuse_taken(name)
    _check(revision)
    return jobs.create(Kind.ROLLBACK, name, {"name": name, "revision": number}, by)[0]


def run_rollback(run: JobRun) -> str:
    """Resumes half of a commit that an earlier try left."""
    name = run.job.subject
    with models_folder.changing():
        ingest = Ingest(settings.MODELS_PATH, str(run.job.pk))
    if ingest.committed:
        run.move(State.COMMITTING, "an earlier try had put everything in place", "Clearing up")
        return _done(run, ingest)
    installs.refuse_taken(name)
    revision = _kept(name, run.job.request["revision"])
    _check(revision)
    deletions.shut_down(run, name)
    run.move(State.COMMITTING, "the model does not run", "Putting the earlier files back")
    with models_folder.changing():
        # Looked at again: this is what is acted upon.
        installs.refuse_taken(name)
        names = _in_order(_check(revision), revision)
        ingest.owned = exchange.owned_by(name)
        change = exchange.to_kept(revision, names)
        with local_faults(f"The folder of job {run.job.pk}", where=ingest.folder):
            change.write(ingest.folder)
        ingest.bring_back(revision.kept_in, names, retired=change.retired, keep_in=change.keep_in)
    return _done(run, ingest)


def _done(run: JobRun, ingest: Ingest) -> str:
    revision = exchange.record(run.job, ingest.folder)
    number = run.job.request["revision"]
    return f"{run.job.subject} is back at revision {number}" + (f", as revision {revision.number}" if revision else "")


def _kept(name: str, number: int) -> Revision:
    revision = Revision.objects.on_this_node().kept().filter(name=name, number=number).first()
    if revision is None:
        raise CannotRollBack(
            f"Revision {number} of {name} is not kept any more.", "Install the model from its gallery instead."
        )
    return revision


def _check(revision: Revision) -> list[str]:
    """The files that are kept of the revision, when they and those that are in place make it whole."""
    names = kept.names_in(revision.kept_in)
    if (kept.size_of(revision.kept_in) or 0) != revision.kept_bytes:
        raise CannotRollBack(
            f"What was kept of revision {revision.number} of {revision.name} is not whole any more.",
            "Install the model from its gallery instead.",
        )
    sizes = {file.filename: file.size for file in revision.specs}
    for name in sorted(revision.brought - set(names)):
        here = revisions.size_here(name)
        if here is None:
            raise CannotRollBack(
                f"{name}, which revision {revision.number} of {revision.name} needs, is not here any more.",
                "Install the model from its gallery instead.",
            )
        if sizes.get(name) is not None and here != sizes[name]:
            raise CannotRollBack(
                f"{name}, which revision {revision.number} of {revision.name} needs, is another file by now.",
                "Install the model from its gallery instead.",
            )
    _refuse_foreign(revision, names)
    return names


def _refuse_foreign(revision: Revision, names: list[str]) -> None:
    """What comes back may take the place of the model's own files alone."""
    own = exchange.owned_by(revision.name)
    for name in names:
        if name not in own and (Path(settings.MODELS_PATH) / name).exists():
            raise CannotRollBack(
                f"Another model now uses {name}, which revision {revision.number} of {revision.name} would replace.",
                f"Delete or rename that file first, or install {revision.name} under another name.",
            )


def _in_order(names: list[str], revision: Revision) -> list[str]:
    """The record and the configuration last: what the last one brings makes the others count."""
    stem = file_name_for_model(revision.name)
    last = [name for name in (f"._gallery_{stem}.yaml", f"{stem}.yaml") if name in names]
    return [name for name in names if name not in last] + last
