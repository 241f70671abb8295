"""What an install would do with each of its files: fetch it, find it here, or meet another one of its name."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from gallery.catalog.recipes import InstallRecipe
from gallery.downloads import places
from gallery.downloads.errors import DownloadError
from gallery.downloads.specs import FileSpec
from gallery.entry_facts import source_of
from gallery.services import known_files
from localai_admin.lib.net import shown
from models import inventory

FETCH, HERE, ELSEWHERE, CONFLICT = "fetch", "here", "elsewhere", "conflict"

_SAME_SIZE = "A file of this name and size is here; whether it is the very same is checked during the install."
_MAYBE = "A file of this name is here; whether it is the very same is checked during the install."


@dataclass
class PlannedFile:
    """One file of a plan; `as_json` is how it stands in the plan's data.

    `size` is bytes, None when nobody says. `status` is fetch, here, elsewhere (the same bytes are here as `same_as`)
    or conflict; `unchecked` means that whether it is here is only known by its size. `replaces` says that the model's
    own earlier file goes. `shared_with` are other models that use the file. `error` is why its server would not give
    it: cause, sentence, action, and whether that may pass.
    """

    filename: str
    uri: str
    source: str
    sha256: str
    size: int | None = None
    status: str = FETCH
    detail: str = ""
    same_as: str = ""
    unchecked: bool = False
    replaces: bool = False
    shared_with: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Folder:
    """The models folder as one install sees it: what is there, whose it is, and which files it may replace."""

    def __init__(self, recipe: InstallRecipe, owned: Collection[str]) -> None:
        self._root = Path(settings.MODELS_PATH)
        self._owned = owned
        self._texts = recipe.texts()
        names = [file.filename for file in recipe.files] + [name for name, _ in self._texts]
        self._users = inventory.file_users(names, but=recipe.name)

    def knows(self, file: FileSpec) -> int | None:
        """Bytes of the file where they are known without asking its server; None where it has to be asked."""
        if file.sha256:
            for path in (file.filename, known_files.path_of(file.sha256) or file.filename):
                if known_files.digest_of(path) == file.sha256:
                    return _size(self._root / path)
        return file.size

    def judge(self, file: FileSpec, size: int | None) -> PlannedFile:
        """What would be done with a file of so many bytes."""
        planned = PlannedFile(file.filename, shown(file.uri), source_of(file.uri), file.sha256, size)
        planned.shared_with = self._users.get(file.filename, [])
        try:
            target = places.of_file(self._root, file.filename)
        except DownloadError as error:
            planned.status, planned.detail = CONFLICT, str(error)
            return planned
        if os.path.lexists(target):
            self._meet(planned, _size(target))
        elif file.sha256 and (same := known_files.path_of(file.sha256)):
            planned.status, planned.same_as = ELSEWHERE, same
            planned.detail = f"The same bytes are here as {same}."
        return planned

    def _meet(self, planned: PlannedFile, there: int | None) -> None:
        """Something has the file's name. Without reading it, only its size and a digest from earlier can tell what."""
        known = known_files.digest_of(planned.filename) if planned.sha256 else None
        if known is not None and known == planned.sha256:
            planned.status, planned.size = HERE, there
        elif known is None and planned.sha256 and planned.size is None and planned.filename not in self._owned:
            planned.status, planned.unchecked, planned.detail = HERE, True, _MAYBE
        elif known is None and planned.size is not None and planned.size == there:
            planned.status, planned.unchecked, planned.detail = HERE, True, _SAME_SIZE
        elif planned.filename in self._owned:
            planned.replaces, planned.detail = True, "The file that is here now is replaced."
        else:
            planned.status, planned.detail = CONFLICT, self._whose(planned.filename)

    def _whose(self, name: str) -> str:
        users = self._users.get(name)
        return f"Another file has this name; {', '.join(users)} uses it." if users else "Another file has this name."

    def texts(self) -> list[dict[str, Any]]:
        """{filename, status, detail} of what the console writes itself: templates, the record, the configuration."""
        return [self._text(name, content) for name, content in self._texts]

    def _text(self, name: str, content: bytes) -> dict[str, Any]:
        try:
            place = places.of_text(self._root, name)
            if not os.path.lexists(place):
                return {"filename": name, "status": "write", "detail": ""}
            if place.is_file() and place.stat().st_size == len(content) and place.read_bytes() == content:
                return {"filename": name, "status": HERE, "detail": ""}
        except DownloadError as error:
            return {"filename": name, "status": CONFLICT, "detail": str(error)}
        except OSError:
            return {"filename": name, "status": CONFLICT, "detail": f"{name} cannot be read."}
        if name in self._owned:
            return {"filename": name, "status": "replace", "detail": ""}
        return {"filename": name, "status": CONFLICT, "detail": self._whose(name)}


def totals(files: Sequence[PlannedFile]) -> dict[str, Any]:
    """Bytes to fetch, bytes that are here, and how many files there are whose size nobody says.

    `fetch` is then only what is known of it. What is here under another name is not fetched, but written once more.
    """
    by_status: dict[str, int] = dict.fromkeys((FETCH, HERE, ELSEWHERE, CONFLICT), 0)
    for file in files:
        by_status[file.status] += file.size or 0
    return {
        "files": len(files),
        "fetch": by_status[FETCH],
        "here": by_status[HERE] + by_status[ELSEWHERE],
        "write": by_status[FETCH] + by_status[ELSEWHERE],
        "unknown_sizes": sum(file.size is None for file in files if file.status == FETCH),
        "to_fetch": sum(file.status == FETCH for file in files),
    }


def disk(total: Mapping[str, Any], free: int) -> dict[str, Any]:
    """Bytes free now and after, what always stays free, and how many are missing for that; 0 when it fits."""
    after = free - total["write"]
    reserve = settings.DISK_RESERVE
    return {
        "free": free,
        "after": after,
        "reserve": reserve,
        "missing": max(0, reserve - after) if total["write"] else 0,
        "exact": not total["unknown_sizes"],
    }


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
