"""SQLite's own full-text index, FTS5. Triggers of the table keep it; the migration makes them."""

from collections.abc import Sequence

from django.db import connection

from gallery.searching.query import Group, Phrase, Query

_MATCH = "SELECT rowid FROM gallery_entry_words WHERE gallery_entry_words MATCH %s"
#: What a word in the name, in the tags, and in the description counts.
_WEIGHTS = "10.0, 4.0, 1.0"


def matching(query: Query) -> list[int]:
    return _column(_MATCH, [_all(query.groups)])


def matching_names(query: Query) -> list[int]:
    return _column(_MATCH, [f"{{name}} : ({_all(query.groups)})"])


def scores(query: Query) -> dict[int, float]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT rowid, bm25(gallery_entry_words, {_WEIGHTS}) FROM gallery_entry_words"  # noqa: S608
            " WHERE gallery_entry_words MATCH %s",
            [_all(query.groups)],
        )
        return dict(cursor.fetchall())


def known(groups: Sequence[Group]) -> list[bool]:
    asked = ", ".join(f"EXISTS ({_MATCH})" for _ in groups)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {asked}", [_group(group) for group in groups])
        return [bool(found) for found in cursor.fetchone()]


def _column(sql: str, parameters: list[str]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [key for (key,) in cursor.fetchall()]


def _all(groups: Sequence[Group]) -> str:
    return " AND ".join(map(_group, groups))


def _group(group: Group) -> str:
    return "(" + " OR ".join(" AND ".join(map(_phrase, phrases)) for phrases in group.alternatives) + ")"


def _phrase(phrase: Phrase) -> str:
    """Tokens are letters and figures only, so that nothing in them can end the quotes."""
    return f'"{" ".join(phrase.tokens)}"' + ("*" if phrase.prefix else "")
