"""What some words match and which of it comes first, with a mistyped word taken for the one that was meant."""

import re
from array import array
from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_, or_

from gallery.searching.engine import engine
from gallery.searching.members import PLACES, from_places
from gallery.searching.query import Group, Phrase, Query, parse
from gallery.searching.snapshot import NOT_SHOWN, Matches, Snapshot

#: The best so many are ranked one by one; of more, names come before descriptions.
_RANKED = 2000
_NOTHING = Matches(0)


def found(query: Query, text: str, entries: Snapshot, forgiving: bool) -> tuple[Query, Matches, str]:
    """The query that was asked in the end, its matches, and the text it was made of when that is another one."""
    matches = _matches(query, entries)
    if matches.members or not forgiving or not query.groups:
        return query, matches, ""
    meant = _mended(query, text, entries)
    better = parse(meant)
    instead = _matches(better, entries) if meant else _NOTHING
    return (better, instead, meant) if instead.members else (query, matches, "")


def _matches(query: Query, entries: Snapshot) -> Matches:
    if not query.groups:
        return _NOTHING
    rank = _ranked if entries.count <= _RANKED else _large
    return entries.searches.get(query, lambda: rank(query, entries))


def _ranked(query: Query, entries: Snapshot) -> Matches:
    """The name itself, names that begin so, names with every word, then whatever the database ranks higher."""
    tier = _tiers(query, entries)
    scores = {entries.place(pk): score for pk, score in engine().scores(query).items()}
    scores.pop(NOT_SHOWN, None)
    order = sorted(scores, key=lambda place: (tier(place), scores[place], place))
    return Matches(from_places(order, entries.count), array(PLACES, order))


def _large(query: Query, entries: Snapshot) -> Matches:
    """Too many to rank one by one: names that begin so, names with the words, all else in the galleries' order."""
    members = _with_all(query, entries, engine().having)
    if members.bit_count() <= _RANKED:
        return _ranked(query, entries) if members else _NOTHING
    # With a single letter nearly every name has a word that begins so.
    named = _with_all(query, entries, engine().having_in_name) if len(query.compact) > 1 else members
    return Matches(members, entries.beginning_with(query.compact), named)


def _with_all(query: Query, entries: Snapshot, having: Callable[[Phrase], Sequence[int]]) -> int:
    """Each phrase is looked up by itself and kept: who types one more word asks for that one alone."""

    def with_phrase(phrase: Phrase) -> int:
        return entries.phrases.get((having.__name__, phrase), lambda: entries.with_pks(having(phrase)))

    def with_group(group: Group) -> int:
        return reduce(or_, (reduce(and_, map(with_phrase, phrases)) for phrases in group.alternatives))

    return reduce(and_, map(with_group, query.groups))


def _tiers(query: Query, entries: Snapshot) -> Callable[[int], int]:
    asked = query.compact

    def tier(place: int) -> int:
        name = entries.compact(place)
        if name.startswith(asked):
            return 0 if name == asked else 1
        return 2 if query.is_in(name) else 3

    return tier


def _mended(query: Query, text: str, entries: Snapshot) -> str:
    """The text with each word that nothing has replaced by the nearest one that something has; empty without one."""
    mended = text.lower()
    known = engine().known(query.groups)
    last = query.groups[-1]
    for group, is_known in zip(query.groups, known, strict=True):
        if is_known:
            continue
        better = entries.vocabulary.nearest(group.word, unfinished=group is last)
        if better is None:
            return ""
        # A word of the vocabulary is letters and figures only: there is nothing in it that means something to re.
        mended = re.sub(rf"(?<![^\W_]){re.escape(group.word)}(?![^\W_])", better, mended)
    return mended if mended != text.lower() else ""
