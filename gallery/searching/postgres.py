"""PostgreSQL's own full-text search. A generated column with a GIN index holds the words; the migration makes both."""

from collections.abc import Sequence

from django.db import connection

from gallery.searching.query import Group, Phrase, Query

_MATCH = "SELECT id FROM gallery_entry WHERE words @@ to_tsquery('simple', %s)"
#: What a word counts in the description, in nothing, in the tags, and in the name: PostgreSQL's D, C, B, A.
_WEIGHTS = "{0.1, 0.1, 0.4, 1.0}"


def matching(query: Query) -> list[int]:
    return _column(f"{_MATCH} ORDER BY id", [_all(query.groups)])


def matching_names(query: Query) -> list[int]:
    return _column(f"{_MATCH} ORDER BY id", [_all(query.groups, "A")])


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


def _column(sql: str, parameters: list[str]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [key for (key,) in cursor.fetchall()]


def _all(groups: Sequence[Group], weight: str = "") -> str:
    return " & ".join(_group(group, weight) for group in groups)


def _group(group: Group, weight: str = "") -> str:
    alternatives = (" & ".join(_phrase(phrase, weight) for phrase in phrases) for phrases in group.alternatives)
    return "(" + " | ".join(alternatives) + ")"


def _phrase(phrase: Phrase, weight: str) -> str:
    """Tokens are letters and figures only, so that nothing in them can end the quotes."""
    *first, last = phrase.tokens
    marks = ("*" if phrase.prefix else "") + weight
    whole = [_word(token, weight) for token in first] + [_word(last, marks)]
    return "(" + " <-> ".join(whole) + ")"


def _word(token: str, marks: str) -> str:
    return f"'{token}'" + (f":{marks}" if marks else "")
