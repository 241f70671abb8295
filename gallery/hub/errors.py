"""Why a repository cannot be listed."""

from gallery.catalog.errors import ImportRefused


class HubError(ImportRefused):
    """The repository cannot be listed. The text is a sentence, `action` says what can be done about it."""

    cause = "repository"
    action = "Check the name of the repository."


class NoRepository(HubError):
    """There is none of that name, or it is hidden from this console."""


class NotAllowed(HubError):
    """It is there, but not for everybody. `page` is where its terms can be accepted; empty when unknown."""

    def __init__(self, text: str, action: str = "", page: str = "") -> None:
        self.page = page
        super().__init__(text, action)


class Unreachable(HubError):
    """The server did not answer in time, or not as it should. Trying again can help."""

    retry = True
    action = "Try again in a moment."
