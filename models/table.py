"""The table of models: what is asked for, as it stands in the URL, and the rows that answer it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from localai_admin.lib.parameters import page_number, words
from models.inventory import ModelRow
from models.standing import Standing, standing
from models.states import State

PAGE_SIZE = 50
MAX_PAGE = 100_000
_MAX_LENGTH = 200
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
#: In the order a person wants to see them: what is wrong, what moves, what runs, what rests.
_STATES = (
    State.FAILED,
    State.BACKOFF,
    State.UNKNOWN,
    State.STARTING,
    State.LOADING,
    State.STOPPING,
    State.READY,
    State.STOPPED,
)


class Row(NamedTuple):
    """A model of the folder and how its instance on this node stands."""

    model: ModelRow
    standing: Standing

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def last_used_at(self) -> datetime | None:
        return self.model.instance.last_used_at if self.model.instance else None

    @property
    def uses(self) -> list[str]:
        return [_words(usecase) for usecase in self.model.usecases]


#: By the word in the URL: the words a person reads, and what is compared.
SORTS: dict[str, tuple[str, Callable[[Row], Any]]] = {
    "": ("Name", lambda row: row.name.lower()),
    "state": ("State", lambda row: _STATES.index(State(row.standing.state))),
    "used": ("Last used", lambda row: -(row.last_used_at or _LONG_AGO).timestamp()),
    "largest": ("Largest first", lambda row: -(row.model.size or 0)),
    "smallest": ("Smallest first", lambda row: row.model.size or 0),
}


@dataclass(frozen=True)
class Wish:
    """What is asked for. Every field is one parameter of the URL; an empty one is left out of it."""

    q: str = ""
    state: str = ""
    usecase: str = ""
    backend: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Self:
        """The wish of a URL. What makes no sense in it counts as not said."""
        said = {key: words(params.get(key, ""), _MAX_LENGTH) for key in ("q", "state", "usecase", "backend", "sort")}
        said["sort"] = said["sort"] if said["sort"] in SORTS else ""
        return cls(**said, page=page_number(params.get("page", ""), MAX_PAGE))

    @property
    def is_filtered(self) -> bool:
        return bool(self.q or self.state or self.usecase or self.backend)

    def on_page(self, number: int) -> str:
        """The URL's query for another page of the same."""
        return replace(self, page=number).query_string

    @property
    def query_string(self) -> str:
        pairs = {key: value for key, value in vars(self).items() if value and (key, value) != ("page", 1)}
        return "?" + urlencode(pairs)

    def keeps(self, row: Row) -> bool:
        return (
            all(word in row.name.lower() for word in self.q.lower().split())
            and self.state in ("", row.standing.state)
            and (not self.usecase or self.usecase in row.model.usecases)
            and self.backend in ("", row.model.backend)
        )


def rows(models: Iterable[ModelRow]) -> list[Row]:
    return [Row(model, standing(model.instance)) for model in models]


def arrange(found: Iterable[Row], wish: Wish) -> list[Row]:
    """The rows that are wished for, in the wished order; equal ones by name."""
    by_name = sorted((row for row in found if wish.keeps(row)), key=SORTS[""][1])
    return sorted(by_name, key=SORTS[wish.sort][1])


class Choice(NamedTuple):
    """One value of a filter, as the URL says it and as a person reads it, and how many models have it."""

    value: str
    label: str
    models: int


class Choices(NamedTuple):
    """What the filters offer: only what is there."""

    states: list[Choice]
    usecases: list[Choice]
    backends: list[Choice]


def choices(found: Iterable[Row]) -> Choices:
    known = list(found)
    return Choices(
        states=_counted((row.standing.state for row in known), _words),
        usecases=_counted((usecase for row in known for usecase in row.model.usecases), _words),
        backends=_counted((row.model.backend for row in known if row.model.backend), str),
    )


def _counted(values: Iterable[str], label: Callable[[str], str]) -> list[Choice]:
    counts = Counter(str(value) for value in values)
    return [Choice(value, label(value), count) for value, count in sorted(counts.items())]


def _words(usecase: str) -> str:
    return usecase.replace("_", " ")
