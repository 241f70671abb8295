"""Installing a model: find out what it takes, fetch it, and put it in place all at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from gallery.catalog.entries import entry_from
from gallery.catalog.recipes import InstallRecipe, with_files
from gallery.downloads.download import download
from gallery.downloads.faults import local_faults
from gallery.downloads.patience import Patience
from gallery.downloads.progress import Snapshot
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from gallery.models import Entry, Job, Plan
from gallery.services import exchange, jobs, known_files, limits, models_folder, recipes, revisions, scans
from gallery.services.errors import BadEntry, NameTaken
from gallery.services.exchange import Origin, owned_by
from gallery.services.running import FileProgress, JobRun
from gallery.services.transport import downloader
from gallery.states import Kind, State
from localai_admin.lib.net import Timeouts, shown
from localai_admin.lib.paths import UnsafePath, file_name_for_model
from models import inventory

_TIMEOUTS, _PATIENCE = Timeouts(), Patience()


def request_install(
    entry: Entry, name: str, by: AbstractBaseUser | None, overrides: Mapping[str, Any] | None = None
) -> Job:
    """Install a gallery's entry under `name`, or under its own when that is empty. Raises JobError."""
    return request(wish_for(entry, name, overrides), by)


def request_apply(data: Mapping[str, Any], name: str, by: AbstractBaseUser | None) -> Job:
    """Install what is described like a gallery's entry, but is in none: url or config_file, overrides, files.

    Raises JobError, and CatalogError when it cannot be read.
    """
    return request(wish_of(data, name), by)


def wish_for(entry: Entry, name: str = "", overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The request, as plans and jobs record it, for a gallery's entry under `name`, or under its own."""
    wish: dict[str, Any] = {"entry": entry.full_name, "name": name.strip() or entry.name}
    return {**wish, "overrides": dict(overrides)} if overrides else wish


def wish_of(data: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """The request for what is described like an entry. Raises CatalogError when it cannot be read."""
    name = name.strip() or entry_from(dict(data)).name
    described = {**data, "name": name}
    entry_from(described)
    return {"described": described, "name": name}


def request(wish: Mapping[str, Any], by: AbstractBaseUser | None) -> Job:
    """The job that installs what a request asks for; asking again returns the same one. Raises JobError."""
    refuse_taken(wish["name"])
    return jobs.create(Kind.INSTALL, wish["name"], dict(wish), by)[0]


def run_install(run: JobRun, timeouts: Timeouts = _TIMEOUTS, patience: Patience = _PATIENCE) -> str:
    """Resumes whatever an earlier try left: its bytes, or half of its commit."""
    name = run.job.request["name"]
    refuse_taken(name)
    with models_folder.changing():
        # A worker that was taken for dead may still be in the middle of its commit.
        ingest = Ingest(settings.MODELS_PATH, str(run.job.pk), reserve=settings.DISK_RESERVE)
    if ingest.committed:
        run.move(State.COMMITTING, "an earlier try had put everything in place", "Clearing up")
        return _done(run, ingest)
    ingest.owned = owned_by(name)
    origin = _origin(run.job.request)
    with downloader(timeouts=timeouts) as transport:
        recipe = _fetch(run, ingest, transport, patience)
    run.move(State.VERIFYING, "all bytes are here", "Checking that everything is whole")
    recipe = with_files(recipe, ingest.unpacked(recipe.files, lambda _: run.check()))
    run.move(State.COMMITTING, "everything is whole", "Putting the files in place", speed=None)
    with models_folder.changing():
        ingest.owned = owned_by(name)
        _put_in_place(run, ingest, recipe, origin)
    return _done(run, ingest)


def _fetch(run: JobRun, ingest: Ingest, transport: Downloader, patience: Patience) -> InstallRecipe:
    """Find out what is needed, refuse what must not be here, and bring the rest into the job's folder."""
    recipe = recipes.resolve(run.job.request, transport)
    _as_written(run, recipe)
    found = scans.refuse(recipe.files, transport)
    run.check()
    _plan(run, recipe)
    run.move(State.DOWNLOADING, scans.said("it is known what is needed", found), "Downloading")
    download(
        _with_sizes(recipe.files, run.job),
        ingest,
        transport=transport,
        stop=run.check,
        on_progress=lambda snapshot: _show(run, snapshot),
        pace=limits.pace(),
        known=_known,
        patience=patience,
    )
    return recipe


def _with_sizes(files: Sequence[FileSpec], job: Job) -> list[FileSpec]:
    """The files with the sizes that the plan of this job has found out: their servers are not asked once more.

    Of a file without a digest the size says whether it is here already; that is asked for when it matters.
    """
    plans = Plan.objects.filter(job=job).values_list("data__files", flat=True)
    sizes = {(file["filename"], file["sha256"]): file["size"] for planned in plans for file in planned or ()}
    return [
        replace(file, size=sizes.get((file.filename, file.sha256))) if file.sha256 and file.size is None else file
        for file in files
    ]


def _known(sha256: str) -> Path | None:
    """A file of the models folder with this digest, under whatever name."""
    name = known_files.path_of(sha256)
    return Path(settings.MODELS_PATH) / name if name else None


def _put_in_place(run: JobRun, ingest: Ingest, recipe: InstallRecipe, origin: Origin) -> None:
    """What the row of the revision will say is written down first, and what was there before is kept."""
    written, overrides = _as_written(run, recipe), run.job.request.get("overrides")
    digests = ingest.digests(written.files)
    change = exchange.to_recipe(recipe, written, origin, overrides=overrides, digests=digests)
    with local_faults(f"The folder of job {run.job.pk}", where=ingest.folder):
        change.write(ingest.folder)
    ingest.commit(written.files, written.texts(), retired=change.retired, keep_in=change.keep_in)


def _origin(wish: Mapping[str, Any]) -> Origin:
    """As the gallery's entry is before its recipe is read: one that changes meanwhile is offered as an update."""
    gallery, _, name = wish.get("entry", "").partition("@")
    digest = Entry.objects.filter(gallery__name=gallery, name=name).values_list("digest", flat=True).first()
    return Origin(gallery, name, digest or "")


def _as_written(run: JobRun, recipe: InstallRecipe) -> InstallRecipe:
    """An update keeps what people have changed in the configuration; an install anew replaces it."""
    if not run.job.request.get("update"):
        return recipe
    return revisions.keeping_edits(revisions.current(recipe.name), recipe)


def _done(run: JobRun, ingest: Ingest) -> str:
    """Record what is in place, and say so."""
    name = run.job.request["name"]
    revision = exchange.record(run.job, ingest.folder)
    for file in revision.specs if revision else ():
        if file.sha256:
            known_files.remember(file.filename, file.sha256)
    if revision and revision.job_id != run.job.pk:
        return f"{name} is installed; nothing of it has changed"
    if revision is None or revision.number == 1:
        return f"{name} is installed"
    return f"{name} is installed, revision {revision.number}{exchange.must_reload(name)}"


def _plan(run: JobRun, recipe: InstallRecipe) -> None:
    """The rows are for people: an address in them is without what may be secret in it."""
    run.plan({"filename": file.filename, "uri": shown(file.uri), "sha256": file.sha256} for file in recipe.files)


def _show(run: JobRun, snapshot: Snapshot) -> None:
    run.progress(
        snapshot.done,
        snapshot.total,
        speed=snapshot.speed,
        fetched=snapshot.fetched,
        last_data_at=timezone.now() - timedelta(seconds=snapshot.idle),
        files=[FileProgress(file.filename, file.done, file.total, file.status) for file in snapshot.files],
        final=snapshot.done == snapshot.total,
    )


def refuse_taken(name: str) -> None:
    """A model of the name that was not installed from a gallery is somebody's own work: it is not replaced."""
    folder: Path = settings.MODELS_PATH
    try:
        stem = file_name_for_model(name)
    except UnsafePath as error:
        raise BadEntry(str(error), "Choose another name.") from None
    config = inventory.config_folder().get(name)
    own = folder / f"{stem}.yaml"
    elsewhere = config is not None and config.path.name != own.name
    if elsewhere or (own.exists() and not (folder / f"._gallery_{stem}.yaml").exists()):
        file = config.path.name if config else own.name
        raise NameTaken(
            f"There is a model called {name} in {file} that did not come from a gallery.",
            "Install under another name, or delete that model first.",
        )
