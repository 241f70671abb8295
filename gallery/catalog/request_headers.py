"""The headers that a private gallery asks for, as a person writes them: a name and a value a line."""

import re

MAX_HEADERS, MAX_VALUE = 20, 4000

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
#: What the console says itself in each of its requests, and what would change how a request is understood.
_OWN = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "expect", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "proxy-authorization",
    "proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip


class BadHeaders(ValueError):
    """Lines that are no headers. The sentence names the line by its number and never says what is in it."""


def read_headers(text: str) -> dict[str, str]:
    """Names and values, in order; of two with one name the last one counts. Raises BadHeaders."""
    found: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            name, value = _read(line, number)
            found[name.lower()] = name, value
    if len(found) > MAX_HEADERS:
        raise BadHeaders(f"There are {len(found)} headers; {MAX_HEADERS} are the most.")
    return dict(found.values())


def _read(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _NAME.fullmatch(name):
        raise BadHeaders(f"Line {number} is no header; write a name, a colon and a value.")
    if name.lower() in _OWN:
        raise BadHeaders(f"Line {number} sets {name}, which the console sets itself; leave it out.")
    if not value:
        raise BadHeaders(f"Line {number} has no value behind the colon; write one, or leave the line out.")
    if len(value) > MAX_VALUE or not _VALUE.fullmatch(value):
        raise BadHeaders(f"Line {number} has a value that no header can have; at most {MAX_VALUE} ASCII characters.")
    return name, value
