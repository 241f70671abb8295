"""Deleting a model: shut it down, then remove what only it uses."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import F

from gallery.models import Job
from gallery.services import jobs, kept, models_folder
from gallery.services.errors import CannotDelete, ModelBusy, NoSuchModelHere
from gallery.services.running import JobRun
from gallery.states import Kind, State
from localai_admin.lib.units import bytes_text
from models import inventory, services
from models.deletion import DeletionError, DeletionPreview, NoSuchModel, delete_files
from models.models import Instance

#: Added to the time a backend has for stopping: the agent has to see the wish, and to clear up. Seconds.
MARGIN = 20.0


def request_delete(name: str, by: AbstractBaseUser | None) -> Job:
    """Delete a model. Raises JobError: when there is none of that name, or an install of it is under way."""
    try:
        inventory.deletion_preview(name)
    except NoSuchModel as error:
        raise NoSuchModelHere(str(error), "Look at the list of models.") from None
    return jobs.create(Kind.DELETE, name, {}, by)[0]


def run_delete(run: JobRun) -> str:
    """Goes on where an earlier try ended: what is gone already is fine."""
    name = run.job.subject
    shut_down(run, name)
    run.move(State.COMMITTING, "the model does not run", "Removing the files")
    try:
        with models_folder.changing():
            preview = _preview(run, name)
            delete_files(preview, settings.MODELS_PATH)
            kept.model_deleted(name)
    except NoSuchModel:
        kept.model_deleted(name)
        return f"{name} is deleted"
    except DeletionError as error:
        raise CannotDelete(str(error), "Correct that, then retry; what is gone already stays gone.") from None
    run.job.files.update(status="deleted", done=F("size"))
    stay = f"; {len(preview.shared)} shared with other models were kept" if preview.shared else ""
    return f"{name} is deleted: {len(preview.files)} files, {bytes_text(preview.bytes_freed)}{stay}"


def _preview(run: JobRun, name: str) -> DeletionPreview:
    """What is to go, written down before anything goes: the configuration goes first, and it told of the rest."""
    earlier = dict(run.job.files.values_list("filename", "size"))
    preview = inventory.deletion_preview(name, list(earlier))
    run.plan({"filename": file, "size": size} for file, size in {**earlier, **dict(preview.files)}.items())
    return preview


def shut_down(run: JobRun, name: str) -> None:
    """Wait until the model does not run. Raises ModelBusy when it still does, and a LetGo when the work is to end.

    An alias has no instance of its own, so that deleting it leaves the model it stands for alone.
    """
    instance = Instance.objects.on_this_node().filter(name=name).in_use().first()
    if instance is None:
        return
    run.say("Shutting the model down")
    instance.request_stop(get_user_model().objects.filter(username=run.job.by).first())
    seconds = settings.BACKEND_STOP_SECONDS + MARGIN
    if not services.wait_stopped(instance, seconds, run.stop):
        run.check()
        raise ModelBusy(
            f"{name} was asked to stop, but still ran after {seconds:.0f} s.",
            "Look whether the agent runs, then retry.",
        )
