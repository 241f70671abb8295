"""What can be wrong with what a gallery gives."""


class CatalogError(Exception):
    """A document of a gallery cannot be used. A retry helps only after the gallery was corrected.

    The text is a sentence that says what was wrong; `action` says what can be done about it.
    """

    cause = "catalog"
    retry = False
    retry_after: float | None = None
    action = "Check the address of the gallery, or tell those who keep it."


class RecipeError(CatalogError):
    """An entry cannot be installed as it is."""

    cause = "recipe"
    action = "Correct the request, or choose another entry."


class ImportRefused(CatalogError):
    """What a person brought along cannot be used as it is."""

    cause = "import"
    action = "Correct it and try again."

    def __init__(self, text: str, action: str = "") -> None:
        self.action = action or self.action
        super().__init__(text)


class SourceError(CatalogError):
    """No source of a gallery gave an index."""

    cause = "gallery"
    action = "Check the network and the address of the gallery."

    def __init__(self, text: str, *, retry: bool, action: str = "") -> None:
        self.retry = retry
        self.action = action or self.action
        super().__init__(text)
