"""The galleries that the settings name, as far as they can be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: The gallery that is made on this machine; the settings say nothing about it.
STARTER = "starter"

MAX_NAME = 100
MAX_URL = 2000
#: An entry's full name is gallery@name, and its page is at gallery/name.
_NOT_IN_A_NAME = "/@\\?#%"
#: Pages of the console that are where those of a gallery of that name would be.
PAGES = frozenset({"delete", "galleries", "refresh", "revisions", "updates"})


@dataclass(frozen=True)
class Wanted:
    """A gallery as it should be; `position` counts from 1, in the order of the settings."""

    name: str
    url: str
    mirrors: tuple[str, ...]
    position: int


def read(items: Sequence[object]) -> tuple[list[Wanted], list[str]]:
    """The galleries, and a sentence for each item that is not used. Of two with one name the first one counts."""
    good: dict[str, Wanted] = {}
    problems = []
    for position, item in enumerate(items, start=1):
        problem = _problem(item)
        if not problem and isinstance(item, Mapping):
            wanted = _wanted(item, position)
            if wanted.name not in good:
                good[wanted.name] = wanted
                continue
            problem = f"has two galleries called {wanted.name}; the first one is used. Rename or remove the second one."
        problems.append(f"LOCALAI_GALLERIES {problem}")
    return list(good.values()), problems


def _wanted(item: Mapping[str, Any], position: int) -> Wanted:
    mirrors = tuple(mirror.strip() for mirror in item.get("mirrors") or ())
    return Wanted(item["name"].strip(), item["url"].strip(), mirrors, position)


def _problem(item: object) -> str:
    if not isinstance(item, Mapping):
        return f"has {str(item)[:100]!r}; each gallery must be a map with name and url."
    for key in ("name", "url"):
        if not isinstance(item.get(key), str) or not item[key].strip():
            return f"has {str(dict(item))[:200]}, which has no {key}; add one."
    name = item["name"].strip()
    problem = name_problem(name)
    return f"has a gallery called {name[:MAX_NAME]!r}, {problem}" if problem else _address_problem(item)


def name_problem(name: str) -> str:
    """Why no gallery can be called that, and what would do, as the end of a sentence; empty when one can."""
    if name == STARTER:
        return "which is the console's own; choose another name."
    if name in PAGES:
        return "which is the name of a page; choose another name."
    if (
        not name
        or len(name) > MAX_NAME
        or not name.isprintable()
        or name in {".", ".."}
        or set(name) & set(_NOT_IN_A_NAME)
    ):
        return f"which is no name for one; use at most {MAX_NAME} characters, and none of {' '.join(_NOT_IN_A_NAME)}."
    return ""


def _address_problem(item: Mapping[str, Any]) -> str:
    mirrors = item.get("mirrors") or []
    if not isinstance(mirrors, list) or not all(isinstance(mirror, str) for mirror in mirrors):
        return f"has mirrors of {item['name']} that are no list of addresses; write them in brackets."
    for address in [item["url"], *mirrors]:
        if len(address) > MAX_URL or not _can_be_split(address):
            return f"has the address {address[:200]!r} of {item['name']}, which is none; correct it."
    return ""


def _can_be_split(address: str) -> bool:
    try:
        urlsplit(address)
    except ValueError:
        return False
    return True
