"""The first sentence of a description, as plain text."""

import html
import re

MAX_SUMMARY = 300
#: Nobody's first sentence is further down, and the patterns below need not see more.
_LOOKED_AT = 6000
_NOT_PROSE = re.compile(r"\s*(#|>|\||<|```|~~~|!\[|\[!|-{3,}|={3,}|\*{3,}\s*$)")
_INLINE: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"!\[[^\]\n]{0,500}\]\([^)\n]{0,1000}\)"), ""),
    (re.compile(r"\[([^\]\n]{0,500})\]\([^)\n]{0,1000}\)"), r"\1"),
    (re.compile(r"<[^>\n]{0,1000}>"), ""),
    (re.compile(r"(\*\*|__|`|~~)"), ""),
    (re.compile(r"(?<!\w)[*_]|[*_](?!\w)"), ""),
    (re.compile(r"^\s*(?:[-*+]|\d+\.)\s+"), ""),
    (re.compile(r"\s+"), " "),
]
_SENTENCE = re.compile(r".{20,}?[.!?。](?=\s|$)")


def summary_of(description: str) -> str:
    """At most 300 characters; empty when the description has no words. Text, not HTML: escape it where it is shown."""
    paragraphs = re.split(r"\n\s*\n", description[:_LOOKED_AT])
    prose = (_plain(_without_headings(paragraph)) for paragraph in paragraphs)
    found = next((text for text in prose if text), "") or _plain(description[:_LOOKED_AT].lstrip("#> \n"))
    sentence = _SENTENCE.match(found)
    return _shortened(sentence[0] if sentence else found)


def _without_headings(paragraph: str) -> str:
    lines = paragraph.splitlines()
    return "\n".join(line for line in lines if not _NOT_PROSE.match(line))


def _plain(text: str) -> str:
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return html.unescape(text).strip()


def _shortened(text: str) -> str:
    if len(text) <= MAX_SUMMARY:
        return text
    return text[: MAX_SUMMARY - 1].rsplit(" ", 1)[0].rstrip(",;: ") + "…"
