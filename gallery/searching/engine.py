"""The full-text search of whichever database holds the entries, behind four functions."""

from collections.abc import Sequence
from typing import Protocol

from django.db import connection

from gallery.searching import postgres, sqlite
from gallery.searching.query import Group, Phrase, Query


class Engine(Protocol):
    """Keys are those of entries, of every gallery, shown or not. A query without groups must not be asked."""

    def having(self, phrase: Phrase) -> list[int]:
        """Keys of the entries with a phrase, each once, in any order."""

    def having_in_name(self, phrase: Phrase) -> list[int]:
        """The same for the name alone."""

    def scores(self, query: Query) -> dict[int, float]:
        """How well each entry matches: the lower, the better."""

    def known(self, groups: Sequence[Group]) -> list[bool]:
        """For each group, whether anything has it."""


def engine() -> Engine:
    return postgres if connection.vendor == "postgresql" else sqlite
