"""Reading a gallery's index in a process of its own, within limits, and a part at a time."""

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from time import monotonic
from typing import IO

from gallery.catalog.entries import CatalogEntry, from_line
from gallery.catalog.errors import CatalogError
from gallery.catalog.parse_child import REFUSED, SECONDS
from gallery.downloads.faults import local_faults

_ROOT = Path(__file__).resolve().parent.parent.parent
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
#: Seconds between two looks at whether the child has ended.
_LOOK = 0.05
_SENTENCE_BYTES = 4096
_TOO_MUCH = f"The index was not read within {SECONDS} s, or broke its reader (exit status {{}})."


class ParsedIndex:
    """The entries of an index, in a file without a name until they are asked for, for as long as this object lives."""

    def __init__(self) -> None:
        self.lines = TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self.lines.close)

    @cached_property
    def left_out(self) -> tuple[int, list[str]]:
        """How many entries could not be used, and a sentence for each of the first of them."""
        self.lines.seek(0)
        count, reasons = json.loads(self.lines.readline())
        return count, reasons

    def batches(self, size: int) -> Iterator[list[CatalogEntry]]:
        """All entries in the order of the index, `size` at a time; from the beginning at each call."""
        self.lines.seek(0)
        self.lines.readline()
        while batch := [from_line(line) for line in islice(self.lines, size)]:
            yield batch


def parse(data: bytes, check: Callable[[], None]) -> ParsedIndex:
    """The entries of an index.yaml; `check` is called while they are read, and may raise to end that.

    Raises CatalogError when it is no index, has no entry that can be used, or takes too much memory or time; NoSpace
    or LocalFault when the disk for temporary files does not take it.
    """
    with local_faults("The index", where=Path(gettempdir())), TemporaryFile() as source, TemporaryFile() as said:
        parsed = ParsedIndex()
        source.write(data)
        source.seek(0)
        if code := _run(source, parsed.lines, said, check):
            said.seek(0)
            sentence = said.read(_SENTENCE_BYTES).decode(errors="replace")
            raise CatalogError(sentence if code == REFUSED else _TOO_MUCH.format(code))
    return parsed


def _run(source: IO[bytes], lines: IO[bytes], said: IO[bytes], check: Callable[[], None]) -> int:
    """The exit status of the child, negative for the signal that ended it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gallery.catalog.parse_child"],
        cwd=_ROOT,
        # Nothing of the console's own: what the child reads was written by somebody else.
        env={name: value for name, value in os.environ.items() if name in _INHERITED},
        stdin=source,
        stdout=lines,
        stderr=said,
    )
    deadline = monotonic() + SECONDS
    try:
        while monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK)
            check()
        return -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
