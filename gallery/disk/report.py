"""How much each model takes, and what would become free; and what the whole folder is made of. All sizes are bytes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gallery.disk.usage import is_loose
from gallery.disk.walk import Found
from gallery.downloads.places import INGEST, PREVIOUS

SUSPECTS = f"{INGEST}/suspect/"


@dataclass(frozen=True)
class ModelUse:
    """`size` is all its files, `own` what becomes free when it is deleted; the rest is shared with `others`."""

    name: str
    size: int
    own: int
    files: int
    others: tuple[str, ...] = ()

    @property
    def shared(self) -> int:
        return self.size - self.own


@dataclass(frozen=True)
class Loose:
    """A file that neither a configuration nor a gallery record names; `is_model` when it is listed as a model."""

    name: str
    size: int
    freed: int
    mtime_ns: int
    is_model: bool


@dataclass(frozen=True)
class Parts:
    """What the folder is made of; a file with several names counts once, where it counts first."""

    own: int = 0
    shared: int = 0
    unused: int = 0
    partial: int = 0
    suspects: int = 0
    previous: int = 0
    hidden: int = 0

    @property
    def total(self) -> int:
        return self.own + self.shared + self.unused + self.partial + self.suspects + self.previous + self.hidden


@dataclass(frozen=True)
class Report:
    """Everything a page about the disk says of the models folder, as of one look."""

    files: Mapping[str, Found] = field(default_factory=dict)
    users: Mapping[str, Collection[str]] = field(default_factory=dict)
    models: tuple[ModelUse, ...] = ()
    unused: tuple[Loose, ...] = ()
    parts: Parts = Parts()


def make(found: Sequence[Found], users: Mapping[str, set[str]]) -> Report:
    """`users` as of `usage.users_of`."""
    return Report(
        files={file.name: file for file in found},
        users=users,
        models=_models(found, users),
        unused=tuple(_unused(found, users)),
        parts=_parts(found, users),
    )


def freed(files: Iterable[Found]) -> int:
    """What becomes free when all of these names go: a file stays as long as it has another name."""
    names: dict[tuple[int, int], list[Found]] = defaultdict(list)
    for file in files:
        names[file.inode].append(file)
    return sum(same[0].size for same in names.values() if len(same) >= same[0].links)


def once(files: Iterable[Found]) -> int:
    """What the files take together, each one once."""
    return sum({file.inode: file.size for file in files}.values())


def _models(found: Sequence[Found], users: Mapping[str, set[str]]) -> tuple[ModelUse, ...]:
    by_model: dict[str, list[Found]] = defaultdict(list)
    for file in found:
        for user in users.get(file.name, ()):
            by_model[user].append(file)
    return tuple(_model(name, files, users) for name, files in sorted(by_model.items()) if name)


def _model(name: str, files: Sequence[Found], users: Mapping[str, set[str]]) -> ModelUse:
    alone = [file for file in files if len(users[file.name]) == 1]
    others = set().union(*(users[file.name] for file in files)) - {name, ""} if len(alone) < len(files) else set()
    return ModelUse(name, once(files), freed(alone), len(files), tuple(sorted(others)))


def _unused(found: Sequence[Found], users: Mapping[str, set[str]]) -> Iterable[Loose]:
    for file in found:
        using = users.get(file.name)
        is_model = using == {file.name} and is_loose(file.name)
        if not file.is_hidden and (is_model or not using):
            yield Loose(file.name, file.size, file.size if file.links == 1 else 0, file.mtime_ns, is_model)


def _parts(found: Sequence[Found], users: Mapping[str, set[str]]) -> Parts:
    """A download's bytes count by what they have on the disk: their place is taken before they are there."""
    sums: dict[str, int] = defaultdict(int)
    order = {"shared": 0, "own": 1, "unused": 2, "previous": 3, "suspects": 4, "partial": 5, "hidden": 6}
    best: dict[tuple[int, int], tuple[int, str, int]] = {}
    for file in found:
        part = _part(file, users)
        taken = file.taken if part == "partial" else file.size
        best[file.inode] = min(best.get(file.inode, (9, "", 0)), (order[part], part, taken))
    for _, part, taken in best.values():
        sums[part] += taken
    return Parts(**sums)


def _part(file: Found, users: Mapping[str, set[str]]) -> str:
    if file.name.startswith(SUSPECTS):
        return "suspects"
    if file.name.startswith(f"{INGEST}/"):
        return "partial"
    if file.name.startswith(f"{PREVIOUS}/"):
        return "previous"
    if using := users.get(file.name):
        return "shared" if len(using) > 1 else "own"
    return "hidden" if file.is_hidden else "unused"
