"""What an answer of a server means for a download."""

import time
from collections.abc import Collection
from email.utils import parsedate_to_datetime

from gallery.downloads.errors import (
    DownloadError,
    Forbidden,
    NeedsToken,
    Network,
    NotFound,
    ServerFault,
    TooManyRequests,
)
from gallery.downloads.schemes.source import Source
from localai_admin.lib.net import Response, shown
from localai_admin.lib.reading import byte_count

_LONGEST_WAIT = 3600.0


def raise_for(response: Response, source: Source, expected: Collection[int] = (200, 206)) -> None:
    """Raise the error that the status or the encoding stands for; nothing for an expected answer."""
    status = response.status
    if status not in expected:
        raise _error_of(response, source)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"", "identity"}:
        raise ServerFault(
            f"{shown(response.url)} was sent in a {encoding[:20]} encoding that was not asked for.", retry=False
        )


def refuse_page(response: Response, source: Source) -> None:
    """A page instead of a file: an error, or a sign-in, with status 200."""
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"} and not source.filename.lower().endswith((".html", ".htm")):
        raise ServerFault(f"{shown(response.url)} answered with a web page instead of {source.filename}.", retry=False)


def validator_of(response: Response) -> str:
    """What tells this version of a file from another: its ETag, else the date of its last change, else empty."""
    return response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")


def length_of(response: Response, status: int = 200) -> int | None:
    return byte_count(response.headers.get("Content-Length", "")) if response.status == status else None


def cut_off(response: Response, count: int, expected: int) -> Network:
    return Network(f"{shown(response.url)} broke off after {count:,} of {expected:,} bytes.")


def _error_of(response: Response, source: Source) -> DownloadError:
    where, status = shown(response.url), response.status
    gated = "gated" in response.headers.get("X-Error-Code", "").lower()
    if status == 401 or gated:
        return _needs_token(where, source)
    if status == 403:
        return Forbidden(f"The server refuses to give {where} (403).")
    if status in {404, 410}:
        return NotFound(f"There is no file at {where} ({status}).")
    if status == 429:
        return TooManyRequests(f"The server of {where} says there were too many requests (429).", _wait(response))
    if status >= 500:
        return ServerFault(f"The server of {where} failed ({status}).", retry=True, retry_after=_wait(response))
    return ServerFault(f"The server of {where} answered in an unexpected way ({status}).", retry=False)


def _needs_token(where: str, source: Source) -> NeedsToken:
    if source.sign_in:
        return NeedsToken(f"{where} is only given to those who sign in.", action=source.sign_in)
    page = where.partition("/resolve/")[0]
    if source.credentials:
        return NeedsToken(f"The token that is set may not read {where}.", action=f"Accept the licence at {page}.")
    return NeedsToken(
        f"{where} is only given to those who sign in.",
        action=f"Accept the licence at {page}, and set HF_TOKEN to a token that may read it.",
    )


def _wait(response: Response) -> float | None:
    """Seconds that Retry-After asks for, as a number or as a date; None when it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_WAIT)
    until = _moment(text)
    # A date is one of the server's clock; ours may be another.
    now = _moment(response.headers.get("Date", "")) or time.time()
    return None if until is None else min(max(0.0, until - now), _LONGEST_WAIT)


def _moment(text: str) -> float | None:
    """Seconds since 1970; None for what is no date."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
