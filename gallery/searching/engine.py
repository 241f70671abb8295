"""The full-text search of whichever database holds the entries, behind four functions."""

from collections.abc import Sequence
from typing import Protocol

from django.db import connection

from gallery.searching import postgres, sqlite
from gallery.searching.query import Group, Query


class Engine(Protocol):
    """Keys are those of entries, of every gallery, shown or not. A query without groups must not be asked."""

    def matching(self, query: Query) -> list[int]:
        """Keys of the entries with every word, in ascending order."""

    def matching_names(self, query: Query) -> list[int]:
        """The same for words of the name alone."""

    def scores(self, query: Query) -> dict[int, float]:
        """How well each entry matches: the lower, the better."""

    def known(self, groups: Sequence[Group]) -> list[bool]:
        """For each group, whether anything has it."""


def engine() -> Engine:
    return postgres if connection.vendor == "postgresql" else sqlite
