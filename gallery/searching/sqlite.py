"""SQLite's own full-text index, FTS5. Triggers of the table keep it; the migration makes them."""

import json
from collections.abc import Sequence

from django.db import connection

from gallery.searching.query import Group, Phrase, Query

_MATCH = "SELECT rowid FROM gallery_entry_words WHERE gallery_entry_words MATCH %s"
#: What a word in the name, in the tags, and in the description counts.
_WEIGHTS = "10.0, 4.0, 1.0"
#: As one value: a row of its own for each key takes twice as long as finding them.
_KEYS = _MATCH.replace("rowid", "json_group_array(rowid)", 1)


def having(phrase: Phrase) -> list[int]:
    return _keys(_phrase(phrase))


def having_in_name(phrase: Phrase) -> list[int]:
    return _keys(f"{{name}} : {_phrase(phrase)}")


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


def _keys(words: str) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, [words])
        return json.loads(cursor.fetchone()[0])  # type: ignore[no-any-return]


def _all(groups: Sequence[Group]) -> str:
    return " AND ".join(map(_group, groups))


def _group(group: Group) -> str:
    return "(" + " OR ".join(" AND ".join(map(_phrase, phrases)) for phrases in group.alternatives) + ")"


def _phrase(phrase: Phrase) -> str:
    """Tokens are letters and figures only, so that nothing in them can end the quotes."""
    return f'"{" ".join(phrase.tokens)}"' + ("*" if phrase.prefix else "")
