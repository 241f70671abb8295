"""The facets beside the gallery: how many entries each choice would leave, for what is searched and chosen now."""

from dataclasses import dataclass

from gallery.search import Answer, Wish
from gallery.searching.part import NOT_SAID

SHOWN_TAGS = 20
SHOWN_VALUES = 12

_LABELS = {
    "installed": "Installed",
    "usecase": "Use case",
    "tag": "Tag",
    "backend": "Backend",
    "license": "Licence",
    "gallery": "Gallery",
}


@dataclass(frozen=True)
class Choice:
    label: str
    count: int
    chosen: bool
    query_string: str


@dataclass(frozen=True)
class Facet:
    field: str
    label: str
    choices: list[Choice]


def facets(found: Answer) -> list[Facet]:
    """Every facet that offers a choice, with its counts under all the other choices."""
    several = len(found.snapshot.galleries) > 1
    shown = [field for field in _LABELS if field != "gallery" or several]
    made = (_facet(found.wish, field, _counted(found, field)) for field in shown)
    return [facet for facet in made if facet.choices]


def _counted(found: Answer, field: str) -> list[tuple[str, int]]:
    """(value, count), what is chosen first, then the most frequent, and what is not said last."""
    if field == "installed":
        return _counted_here(found)
    picked = _picked(found.wish, field)
    # Several tags narrow each other; of every other facet one value is chosen, and the others are instead of it.
    left = found.left() if field == "tag" else found.left(without=field)
    limit = SHOWN_TAGS if field == "tag" else SHOWN_VALUES
    counted = found.snapshot.postings[field].most_frequent(left, limit + 1, always=picked)
    chosen, others = counted[: len(picked)], counted[len(picked) :]
    others.sort(key=lambda pair: pair[0] == NOT_SAID)
    return chosen + others[:limit]


def _counted_here(found: Answer) -> list[tuple[str, int]]:
    left = found.left(without="installed")
    here = (left & found.here).bit_count()
    counted = {"yes": here, "no": left.bit_count() - here}
    picked = found.wish.installed
    return sorted(
        ((value, count) for value, count in counted.items() if count or value == picked),
        key=lambda pair: (pair[0] != picked, -pair[1], pair[0]),
    )


def _picked(wish: Wish, field: str) -> tuple[str, ...]:
    if field == "tag":
        return wish.tags
    return (value,) if (value := getattr(wish, field)) else ()


def _facet(wish: Wish, field: str, counted: list[tuple[str, int]]) -> Facet:
    picked = _picked(wish, field)
    choices = [
        Choice(_label(field, value), count, value in picked, wish.toggled(field, value).query_string)
        for value, count in counted
    ]
    return Facet(field, _LABELS[field], choices)


def _label(field: str, value: str) -> str:
    if value == NOT_SAID:
        return "Not said"
    if field == "installed":
        return value.capitalize()
    return value.replace("_", " ") if field == "usecase" else value
