"""What can be wrong with a job, apart from its downloads.

Each error has a cause (one word, for filters), a sentence for a person, and an action: what can be done about it.
"""


class JobError(Exception):
    """The work cannot go on. `retry` says whether trying again by itself can help."""

    cause = "job"
    retry = False
    retry_after: float | None = None

    def __init__(self, sentence: str, action: str = "") -> None:
        super().__init__(sentence)
        self.action = action

    @property
    def in_full(self) -> str:
        """What was wrong, and what can be done."""
        return f"{self} {self.action}".strip()


class Conflict(JobError):
    """Another job is at work on the same subject. Wait for it or cancel it, then ask again."""

    cause = "conflict"


class EntryGone(JobError):
    """The gallery no longer has the entry. Refresh the gallery and choose again."""

    cause = "entry gone"


class BadEntry(JobError):
    """The entry, its recipe or the configuration they make is no good. Only the gallery can help."""

    cause = "bad entry"


class NameTaken(JobError):
    """A configuration of this name is here and did not come from a gallery. Choose another name."""

    cause = "name taken"


class ModelBusy(JobError):
    """The model did not stop in time. Trying again can help."""

    cause = "model busy"
    retry = True


class DatabaseAway(JobError):
    """The database was locked for too long, or away. Trying again can help."""

    cause = "database"
    retry = True


class CannotDelete(JobError):
    """Some files could not be removed. The sentence names them."""

    cause = "cannot delete"


class NoSuchModelHere(JobError):
    """There is no model of that name to delete."""

    cause = "no such model"


class StarterFailed(JobError):
    """The packages of the starter gallery could not be fetched or are not what they should be."""

    cause = "starter"


class StarterUnreachable(JobError):
    """A package could not be fetched just now. Trying again can help."""

    cause = "starter"
    retry = True


class GalleryTaken(JobError):
    """There is a gallery of that name. Choose another name."""

    cause = "name taken"


class FolderBusy(JobError):
    """Somebody else changes the models folder. Trying again in a moment helps."""

    cause = "folder busy"
    retry = True


class StillUsed(JobError):
    """A file is not what it was when somebody chose to remove it: it is used, has changed, or is gone."""

    cause = "still used"


class CannotLink(JobError):
    """Two files are not the same, or cannot share their bytes. Nothing was changed."""

    cause = "cannot link"
