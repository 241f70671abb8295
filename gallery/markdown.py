"""Descriptions from outside: Markdown in, HTML out that can do nothing but be read."""

import re
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt

#: A longer description is cut: nobody reads it, and a page has to be made of it.
MAX_CHARACTERS = 20_000
SCHEMES = frozenset({"http", "https", "mailto"})

_TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote"),
    *("ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
_parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
#: GitHub's boxes, `> [!Note]`, keep their word as a bold one.
_ALERT = re.compile(r"^([ \t]*>[ \t]*)\[!(\w+)\][ \t]*$", re.MULTILINE)


def to_html(text: str) -> str:
    """Sanitised HTML: no images, no scripts, links only to other places and without a way back.

    Headings begin at the third level, below those of the page.
    """
    tokens = _parser.parse(_ALERT.sub(r"\1**\2**\n\1", text[:MAX_CHARACTERS]))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return nh3.clean(
        _parser.renderer.render(tokens, _parser.options, {}),
        tags=_TAGS,
        attributes={"a": {"href", "title"}},
        attribute_filter=_filtered,
        link_rel="noopener noreferrer nofollow",
        url_schemes=set(SCHEMES),
    )


def is_safe_link(address: object) -> bool:
    """Whether a person may be sent there: a whole address of a scheme that only shows something."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.netloc or (parts.scheme == "mailto" and parts.path))


def _filtered(_tag: str, attribute: str, value: str) -> str | None:
    return value if attribute != "href" or is_safe_link(value) else None
