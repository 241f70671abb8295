"""docs/faults.md is for those who run the console: it knows every cause that a job can fail with."""

import re
from collections.abc import Iterator
from pathlib import Path

from gallery.downloads import errors as downloads
from gallery.services import errors as services

PAGE = Path(__file__).parents[2] / "docs/faults.md"
#: Written by whoever finds a job that nobody could end.
FURTHER = {"worker died", "internal"}


def causes() -> set[str]:
    modules = (downloads, services)
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    bases = (downloads.DownloadError, services.JobError)
    return {kind.cause for kind in kinds if issubclass(kind, bases) and kind not in bases} | FURTHER


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1] != "Cause":
            yield cells


def test_every_cause_is_in_the_page_and_no_other() -> None:
    named = {cause for cells in rows() for cause in re.findall(r"`([^`]+)`", cells[1])}
    assert named == causes()


def test_every_row_says_all_there_is_to_say() -> None:
    assert all(len(cells) == 6 and all(cells) for cells in rows())
