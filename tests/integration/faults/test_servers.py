"""Each thing that a server can do wrong: the class of cause, what a person sees, what is kept, what became visible."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.template.defaultfilters import urlize
from django.utils import timezone

from gallery.services.running import TRIES
from gallery.states import State
from tests.fakes.http_server import Page
from tests.fakes.two_files import BODY, GOOD, GOOD_BODY, HALF, LARGE, SICK, TwoFiles

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Fault:
    """`how` is the first file's page meanwhile. Without a `cause` the install ends well all the same, in one try.

    `says` is in the sentence, `then` in what can be done; `waits` when the console tries again by itself, else a person
    has to. `kept` is bytes of the first file that the next try uses (None for a few), `begun` what an earlier one left.
    The mended server may still be as `mended` says; `again` is bytes it then sends, when not just the missing ones.
    A file with the digest of `suspect` is put aside.
    """

    name: str
    how: dict[str, Any]
    cause: str = ""
    says: str = ""
    then: str = ""
    waits: bool = False
    kept: int | None = 0
    begun: int = 0
    body: bytes = BODY
    mended: dict[str, Any] = field(default_factory=dict)
    again: int | None = None
    suspect: bytes | None = None


NETWORK = {"cause": "network", "then": "the bytes that are here are kept", "waits": True}
SERVER = {"cause": "server", "then": "Try again later, or use another address"}
BUSY = {"cause": "too_many_requests", "then": "tries again by itself", "waits": True, "says": "too many requests (429)"}
WRONG = {"cause": "digest_mismatch", "then": "Refresh the gallery and install again", "says": f"{SICK} is not what"}
REFUSED = {"cause": "refused_address", "then": "LOCALAI_ADMIN_TRUSTED_HOSTS"}
LAST = len(BODY) - 1
OTHER_BYTES = BODY[:-1] + b"\x00"

FAULTS = [
    # --- It stops, or breaks off.
    # Not a byte of an answer.
    Fault("silent", {"silent": True}, "network", "127.0.0.1 did not answer within", "slow or gone", waits=True),
    # One header after another, without an end.
    Fault("headers for ever", {"trickle": True}, "network", "127.0.0.1 did not answer within", "slow or gone", True),
    # Each answer brings 1,000 bytes, then the line stays open and nothing comes: two tries.
    Fault("stalls", {"stall": 1000}, "stalled", "/sick sent no data for", "stopped sending", waits=True, kept=2000),
    # A byte now and then, about the least that is no silence.
    Fault("byte by byte", {"drip": 0.05}, "stalled", "/sick sent only", "stopped sending", waits=True, kept=None),
    # The line breaks behind the headers, again and again.
    Fault("cut at 0", {"cut": 0}, **NETWORK, says="broke off after 0 of 120,000 bytes"),
    # A byte each time.
    Fault("cut at 1", {"cut": 1}, **NETWORK, says="broke off after 1 of 119,999 bytes", kept=2),
    # Once in the middle: it goes on at once, and nobody has to know.
    Fault("cut in the middle", {"cuts": [HALF]}),
    # In the middle, and then the server is gone.
    Fault(
        "cut and gone", {"turns": [Page(BODY, cut=HALF)], "status": 503}, **SERVER, says="(503)", waits=True, kept=HALF
    ),
    # All but the last byte: nothing is whole without it.
    Fault(
        "cut at the last",
        {"turns": [Page(BODY, cut=LAST)], "status": 503},
        **SERVER,
        says="(503)",
        waits=True,
        kept=LAST,
    ),
    # --- It sends something else than the file.
    # Fewer bytes than it announces, again and again; what came is right.
    Fault(
        "too few",
        {"length": 200_000, "ranges": False},
        **NETWORK,
        says="broke off after 120,000 of 200,000 bytes",
        kept=len(BODY),
        again=len(BODY),
    ),
    # It announces fewer than the file has: a whole that is none.
    Fault("announces too few", {"length": HALF}, **WRONG, suspect=BODY[:HALF]),
    # More behind the file than it announces: not read, and in nobody's way.
    Fault("too many", {"extra": b"more" * 500}),
    # More than the size that is known from an earlier try, in pieces without a length: not read, either.
    Fault("too many, unannounced", {"extra": b"more" * 500, "chunked": True}, begun=HALF),
    # More than the file has, when nobody says how many it has.
    Fault(
        "too many, of unknown size", {"extra": b"more" * 500, "chunked": True}, **WRONG, suspect=BODY + b"more" * 500
    ),
    # Other bytes than the gallery lists.
    Fault("wrong bytes", {"turns": [Page(OTHER_BYTES)] * 9}, **WRONG, suspect=OTHER_BYTES),
    # No length: the end is where the connection ends.
    Fault("no length", {"length": -1}),
    # No length, and the line is cut: it looks whole, and is not.
    Fault("no length, cut", {"length": -1, "cut": HALF}, **WRONG, suspect=BODY[:HALF]),
    # An error page with status 200.
    Fault(
        "error page",
        {"content_type": "text/html; charset=utf-8"},
        **SERVER,
        says="answered with a web page instead of sick",
    ),
    # Compressed, though nobody asked for that.
    Fault(
        "gzip", {"headers": {"Content-Encoding": "gzip"}}, **SERVER, says="in a gzip encoding that was not asked for"
    ),
    # --- Ranges.
    # None at all: the next try begins at the beginning, and what is here stays until it has caught up.
    Fault(
        "no ranges",
        {"ranges": False, "turns": [Page(BODY, ranges=False, cut=HALF)], "status": 503},
        **SERVER,
        says="(503)",
        waits=True,
        kept=HALF,
        mended={"ranges": False},
        again=len(BODY),
    ),
    # 200 and the whole file to a range, on resume.
    Fault("200 to a range", {"ranges": False}, begun=HALF),
    # The same to connections that share a file.
    Fault("200 to shared ranges", {"ranges": False, "pause": 0.03}, body=LARGE),
    # 206 with another range than the one that was asked for.
    Fault("another range", {"shift": 7}, begun=HALF),
    Fault("another range before", {"shift": -7}, begun=HALF),
    Fault("another shared range", {"shift": 7, "pause": 0.03}, body=LARGE),
    # 206 that says the file has another size.
    Fault("another total", {"turns": [Page(BODY, total=500_000)]}, begun=HALF),
    # The same to a second connection of a file.
    Fault(
        "another total of a shared range",
        {"turns": [Page(LARGE, pause=0.03), Page(LARGE, total=3 << 20)], "pause": 0.01},
        body=LARGE,
    ),
    # Little at a time.
    Fault("small ranges", {"most": 50_000}, begun=10_000),
    # Another version on resume, by its ETag: nothing is glued together.
    Fault("another ETag", {"etag": '"2"'}, begun=HALF),
    # Another version in the middle.
    Fault("another ETag in the middle", {"etag": '"2"', "turns": [Page(OTHER_BYTES, cut=HALF)]}),
    # Another version each time it is asked.
    Fault(
        "always another ETag",
        {"turns": [Page(BODY, etag=f'"v{n}"', cut=70_000) for n in range(9)]},
        **NETWORK,
        says=f"another {SICK} each time",
        kept=70_000,
        again=len(BODY),
    ),
    # --- It refuses.
    Fault("401", {"status": 401}, "needs_token", "/sick is only given to those who sign in", "HF_TOKEN"),
    Fault("403", {"status": 403}, "forbidden", "refuses to give http://127.0.0.1", "the token may read it"),
    Fault("404", {"status": 404}, "not_found", "There is no file at http://127.0.0.1", "Look for a newer entry"),
    Fault("410", {"status": 410}, "not_found", "There is no file at http://127.0.0.1", "Look for a newer entry"),
    # A file that is gone while some of it is here: the bytes stay, should it come back.
    Fault(
        "404 on resume",
        {"status": 404},
        "not_found",
        "There is no file at",
        "Look for a newer entry",
        begun=HALF,
        kept=HALF,
    ),
    Fault("416", {"status": 416}, **SERVER, says="answered in an unexpected way (416)"),
    # To the range of a resume: the whole is asked for.
    Fault("416 on resume", {"statuses": [416]}, begun=HALF),
    # Too many requests, and for how long: a number of seconds, a date, an absurd wait, no wait at all.
    Fault("429", {"status": 429, "headers": {"Retry-After": "70"}}, **BUSY),
    Fault(
        "429 until a date",
        {
            "status": 429,
            "headers": {"Retry-After": format_datetime(timezone.now() + timedelta(minutes=30), usegmt=True)},
        },
        **BUSY,
    ),
    Fault("429 for years", {"status": 429, "headers": {"Retry-After": "99999999"}}, **BUSY),
    Fault("429 for ever", {"status": 429, "headers": {"Retry-After": "soon"}}, **BUSY),
    # For a second: that is waited for, and nobody has to know.
    Fault("429 for a moment", {"statuses": [429], "headers": {"Retry-After": "1"}}),
    Fault("500", {"status": 500}, **SERVER, says="/sick failed (500)", waits=True),
    Fault("503 once", {"statuses": [503]}),
    Fault("503", {"status": 503}, **SERVER, says="/sick failed (503)", waits=True),
    Fault("503 on resume", {"status": 503}, **SERVER, says="/sick failed (503)", waits=True, begun=HALF, kept=HALF),
    # Only one connection at a time: it comes by one.
    Fault("one connection", {"at_once": 1, "pause": 0.01}, body=LARGE),
    # --- It sends one elsewhere.
    Fault(
        "in a circle", {"redirect": "/sick"}, "network", "/sick redirects in a circle", "Open the address in a browser"
    ),
    # Into a network that is not the public one.
    Fault(
        "to a private address",
        {"redirect": "http://127.0.0.2:9/f"},
        **REFUSED,
        says="127.0.0.2 is not an address of the public network",
    ),
    # To a name that means this machine.
    Fault("to a local name", {"redirect": "http://printer.local/f"}, **REFUSED, says="printer.local"),
    # To something that is no web address.
    Fault("to a file", {"redirect": "file:///etc/passwd"}, **REFUSED, says="is not an https address"),
]


def rows() -> list[Any]:
    """Every second row is an install over an earlier one."""
    return [pytest.param(fault, bool(n % 2), id=fault.name) for n, fault in enumerate(FAULTS)]


@pytest.mark.parametrize(("fault", "over_an_earlier"), rows())
def test_a_server_that_does_wrong(two: TwoFiles, fault: Fault, over_an_earlier: bool) -> None:
    if over_an_earlier:
        two.install_earlier()
    before = two.visible()
    two.offer(fault.body)
    two.ask()
    if fault.begun:
        two.begin(fault.begun)
    two.suffer(**fault.how)
    two.run()
    if fault.cause:
        assert_told(two, fault)
        assert two.visible() == before
        assert 0 < two.kept(SICK) < 100 if fault.kept is None else two.kept(SICK) == fault.kept
        assert two.suspects() == ([] if fault.suspect is None else [fault.suspect])
        assert_mended(two, fault)
    two.assert_installed()


def assert_told(two: TwoFiles, fault: Fault) -> None:
    """The job has the class of the cause, and its page the sentence, what can be done, and the button or the wait."""
    job, page = two.job, two.page()
    assert (job.cause, job.state) == (fault.cause, State.RETRYING if fault.waits else State.FAILED), job.error
    assert fault.says in job.error
    assert fault.then in job.action
    assert f"{job.error}" in page
    assert f"<p>{urlize(job.action)}</p>" in page
    if fault.waits:
        assert re.search(rf"Try {job.attempt + 1} of {TRIES} in \d", page)
        assert two.offers("cancel")
        assert not two.offers("retry")
    else:
        assert two.offers("retry")
        assert two.offers("dismiss")


def assert_mended(two: TwoFiles, fault: Fault) -> None:
    """The next try finishes, and fetches only what is missing."""
    missing = {"/sick": len(fault.body) - two.kept(SICK) if fault.again is None else fault.again}
    missing["/good"] = len(GOOD_BODY) - two.kept(GOOD)
    two.suffer(**fault.mended)
    two.server.sent.clear()
    two.ask_again()
    two.run()
    assert {path: two.server.sent[path] for path in missing} == missing
