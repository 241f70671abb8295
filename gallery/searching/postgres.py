"""PostgreSQL's own full-text search. A generated column with a GIN index holds the words; the migration makes both."""

from collections.abc import Sequence

from django.db import connection

from gallery.searching.query import Group, Phrase, Query

_MATCH = "SELECT id FROM gallery_entry WHERE words @@ to_tsquery('simple', %s)"
#: What a word counts in the description, in nothing, in the tags, and in the name: PostgreSQL's D, C, B, A.
_WEIGHTS = "{0.1, 0.1, 0.4, 1.0}"


#: As one value, of which the driver makes numbers faster than of as many rows.
_KEYS = _MATCH.replace("id", "coalesce(json_agg(id), '[]')", 1)


def having(phrase: Phrase) -> list[int]:
    return _keys(_phrase(phrase))


def having_in_name(phrase: Phrase) -> list[int]:
    return _keys(_phrase(phrase, "A"))


def scores(query: Query) -> dict[int, float]:
    words = _all(query.groups)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, -ts_rank(%s::float4[], words, to_tsquery('simple', %s), 1) FROM gallery_entry"
            " WHERE words @@ to_tsquery('simple', %s)",
            [_WEIGHTS, words, words],
        )
        return dict(cursor.fetchall())


def known(groups: Sequence[Group]) -> list[bool]:
    asked = ", ".join(f"EXISTS ({_MATCH})" for _ in groups)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {asked}", [_group(group) for group in groups])
        return list(cursor.fetchone())


def _keys(words: str) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, [words])
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def _all(groups: Sequence[Group]) -> str:
    return " & ".join(map(_group, groups))


def _group(group: Group) -> str:
    return "(" + " | ".join(" & ".join(map(_phrase, phrases)) for phrases in group.alternatives) + ")"


def _phrase(phrase: Phrase, weight: str = "") -> str:
    """Tokens are letters and figures only, so that nothing in them can end the quotes."""
    *first, last = phrase.tokens
    marks = ("*" if phrase.prefix else "") + weight
    whole = [_word(token, weight) for token in first] + [_word(last, marks)]
    return "(" + " <-> ".join(whole) + ")"


def _word(token: str, marks: str) -> str:
    return f"'{token}'" + (f":{marks}" if marks else "")
