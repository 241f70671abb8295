"""Marking in a text the words that it was found by."""

import re
from collections.abc import Sequence

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

#: A single letter is everywhere, and says nothing.
_SHORTEST = 2


def marked(text: str, words: Sequence[str]) -> SafeString:
    """The text as HTML, with <mark> around each of the words, wherever they stand in it."""
    wanted = sorted((word for word in words if len(word) >= _SHORTEST), key=len, reverse=True)
    if not wanted:
        return format_html_join("", "{}", [(text,)])
    pieces = re.split("(" + "|".join(map(re.escape, wanted)) + ")", text, flags=re.IGNORECASE)
    # With one group, every second piece is what it matched.
    return format_html_join("", "{}<mark>{}</mark>", zip(pieces[:-1:2], pieces[1::2], strict=True)) + format_html_join(
        "", "{}", [(pieces[-1],)]
    )
