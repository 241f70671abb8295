"""Installing a model: find out what it takes, fetch it, and put it in place all at once."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from gallery.catalog.entries import entry_from
from gallery.catalog.recipes import InstallRecipe
from gallery.downloads.download import download
from gallery.downloads.progress import Snapshot
from gallery.downloads.store import Ingest
from gallery.models import Entry, Job
from gallery.services import jobs, models_folder, recipes
from gallery.services.errors import BadEntry, NameTaken
from gallery.services.running import FileProgress, JobRun
from gallery.services.transport import downloader
from gallery.states import Kind, State
from localai_admin.lib.paths import UnsafePath, file_name_for_model
from models import inventory
from models.deletion import NoSuchModel


def request_install(
    entry: Entry, name: str, by: AbstractBaseUser | None, overrides: Mapping[str, Any] | None = None
) -> Job:
    """Install a gallery's entry under `name`, or under its own when that is empty. Raises JobError."""
    name = name.strip() or entry.name
    _refuse_taken(name)
    request: dict[str, Any] = {"entry": entry.full_name, "name": name}
    if overrides:
        request["overrides"] = dict(overrides)
    return jobs.create(Kind.INSTALL, name, request, by)[0]


def request_apply(data: Mapping[str, Any], name: str, by: AbstractBaseUser | None) -> Job:
    """Install what is described like a gallery's entry, but is in none: url or config_file, overrides, files.

    Raises JobError, and CatalogError when it cannot be read.
    """
    name = name.strip() or entry_from(dict(data)).name
    described = {**data, "name": name}
    entry_from(described)
    _refuse_taken(name)
    return jobs.create(Kind.INSTALL, name, {"described": described, "name": name}, by)[0]


def run_install(run: JobRun) -> str:
    """Resumes whatever an earlier try left: its bytes, or half of its commit."""
    name = run.job.request["name"]
    _refuse_taken(name)
    with models_folder.changing():
        # A worker that was taken for dead may still be in the middle of its commit.
        ingest = Ingest(settings.MODELS_PATH, str(run.job.pk), reserve=settings.DISK_RESERVE)
    if ingest.committed:
        run.move(State.COMMITTING, "an earlier try had put everything in place", "Clearing up")
        return f"{name} is installed"
    ingest.owned = _owned(name)
    with downloader() as transport:
        recipe = recipes.resolve(run.job.request, transport)
        run.check()
        _plan(run, recipe)
        run.move(State.DOWNLOADING, "it is known what is needed", "Downloading")
        download(
            recipe.files,
            ingest,
            transport=transport,
            stop=run.check,
            on_progress=lambda snapshot: _show(run, snapshot),
        )
    run.move(State.VERIFYING, "all bytes are here", "Checking that everything is whole")
    run.move(State.COMMITTING, "everything is whole", "Putting the files in place", speed=None)
    with models_folder.changing():
        ingest.owned = _owned(name)
        ingest.commit(recipe.files, recipe.texts())
    return f"{name} is installed"


def _plan(run: JobRun, recipe: InstallRecipe) -> None:
    run.plan({"filename": file.filename, "uri": file.uri[:2000], "sha256": file.sha256} for file in recipe.files)


def _show(run: JobRun, snapshot: Snapshot) -> None:
    run.progress(
        snapshot.done,
        snapshot.total,
        speed=snapshot.speed,
        last_data_at=timezone.now() - timedelta(seconds=snapshot.idle),
        files=[FileProgress(file.filename, file.done, file.total, file.status) for file in snapshot.files],
        final=snapshot.done == snapshot.total,
    )


def _refuse_taken(name: str) -> None:
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


def _owned(name: str) -> frozenset[str]:
    """The files that an installation of the same name brought, and nobody else uses: they may be replaced."""
    try:
        return frozenset(file for file, _ in inventory.deletion_preview(name).files)
    except NoSuchModel:
        return frozenset()
