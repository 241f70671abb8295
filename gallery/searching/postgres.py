"""PostgreSQL's own full-text search. Generated columns with GIN indexes hold the words; the migrations make them.

The weights of `words` are for ranking. Looking for words of one weight would unpack the words of every row that has
them at all, so those of the names are in a column of their own.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from gallery.searching.query import Group, Phrase, Query

_MATCH = "SELECT id FROM gallery_entry WHERE words @@ to_tsquery('simple', %s)"
#: What a word counts in the description, in nothing, in the tags, and in the name: PostgreSQL's D, C, B, A.
_WEIGHTS = "{0.1, 0.1, 0.4, 1.0}"


#: As one value, of which the driver makes numbers faster than of as many rows.
_KEYS = "SELECT coalesce(json_agg(id), '[]') FROM gallery_entry WHERE {} @@ to_tsquery('simple', %s)"


def having(phrase: Phrase) -> list[int]:
    return _keys("words", phrase)


def having_in_name(phrase: Phrase) -> list[int]:
    return _keys("name_words", phrase)


def scores(query: Query) -> dict[int, float]:
    words = _all(query.groups)
    rows = _rows(
        "SELECT id, -ts_rank(%s::float4[], words, to_tsquery('simple', %s), 1) FROM gallery_entry"
        " WHERE words @@ to_tsquery('simple', %s)",
        [_WEIGHTS, words, words],
    )
    return dict(rows)


def known(groups: Sequence[Group]) -> list[bool]:
    asked = ", ".join(f"EXISTS ({_MATCH})" for _ in groups)
    [found] = _rows(f"SELECT {asked}", [_group(group) for group in groups])
    return list(found)


def _keys(column: str, phrase: Phrase) -> list[int]:
    [(found,)] = _rows(_KEYS.format(column), [_phrase(phrase)])
    return found  # type: ignore[no-any-return]


def _rows(sql: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
    """The planner does not count what unpacking words costs, and would read the whole table for a frequent one."""
    with connection.cursor() as cursor:
        # Two statements at once are one transaction, and one way to the server and back.
        cursor.execute(f"SET LOCAL enable_seqscan = off; {sql}", parameters)
        cursor.nextset()
        return cursor.fetchall()  # type: ignore[no-any-return]


def _all(groups: Sequence[Group]) -> str:
    return " & ".join(map(_group, groups))


def _group(group: Group) -> str:
    return "(" + " | ".join(" & ".join(map(_phrase, phrases)) for phrases in group.alternatives) + ")"


def _phrase(phrase: Phrase) -> str:
    """Tokens are letters and figures only, so that nothing in them can end the quotes."""
    return "(" + " <-> ".join(f"'{token}'" for token in phrase.tokens) + (":*" if phrase.prefix else "") + ")"
