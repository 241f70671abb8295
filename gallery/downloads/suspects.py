"""Whole files with another digest than they should have: kept where nothing serves them, with a note."""

import contextlib
import json
import re
from pathlib import Path, PurePosixPath

from gallery.downloads.specs import FileSpec
from localai_admin.lib.files import atomic_write
from localai_admin.lib.net import shown

#: The folder of suspects, beside those of the jobs.
FOLDER = "suspect"


def put_aside(part: Path, ingest: Path, file: FileSpec, got: str) -> None:
    """Move the bytes to the suspects. The same bytes of the same file are there once. Raises OSError."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(file.filename).name)[-100:]
    folder = ingest / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    aside = folder / f"{got[:16]}-{name}"
    part.replace(aside)
    note = {"filename": file.filename, "uri": shown(file.uri), "expected": file.sha256, "got": got}
    # Only for the page that lists them: without it, the name still says what it is.
    with contextlib.suppress(OSError):
        atomic_write(aside.with_name(f"{aside.name}.json"), json.dumps(note).encode(), 0o600)
