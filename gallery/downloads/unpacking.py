"""Archives laid over each other, into one folder of files with names of our own.

No name of an archive is ever made on the disk here: what a member is called is remembered beside its bytes, and checked
before anybody uses it. So nothing can be written outside, and no link can be followed.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from gallery.downloads import places
from gallery.downloads.errors import BadArchive, NameTaken, NoSpace
from gallery.downloads.faults import local_faults
from gallery.downloads.specs import FileSpec
from gallery.downloads.tarballs import Member, members
from localai_admin.lib.files import free_space
from localai_admin.lib.paths import UnsafePath, parts_of
from localai_admin.lib.units import bytes_text

MOST_ENTRIES = 10_000
#: Weights hardly get smaller when they are packed; what becomes this many times larger is meant to fill the disk.
_MOST_RATIO = 100
_MOST_SMALL = 64 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

Tick = Callable[[int], None]
PathOf = Callable[[FileSpec], Path]


@dataclass(frozen=True)
class Content:
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Unpacked:
    """A file that was in an archive: its bytes are in `path`."""

    spec: FileSpec
    path: Path


@dataclass
class _Tree:
    """What the layers so far have brought, by name.

    `folders` are those that have anything in them; `fresh` is what the layer being read has brought.
    """

    files: dict[str, Content] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    entries: int = 0

    def remove(self, name: str) -> None:
        """The name, and what is below it."""
        self._drop(name)
        if name in self.folders:
            self._drop_below(f"{name}/", keep=())
            self.folders.discard(name)

    def empty(self, folder: str) -> None:
        """What earlier layers have put into the folder; the root is the empty name."""
        self._drop_below(f"{folder}/" if folder else "", keep=self.fresh)

    def clear_way(self, name: str) -> None:
        """The folders on the way to a name are folders, whatever they were before. A link is an error."""
        for above in _above(name):
            if above in self.links:
                raise BadArchive(f"The archive puts {name[:200]!r} behind a link, {above[:200]!r}.")
            self._drop(above)
            self.folders.add(above)

    def _drop_below(self, start: str, keep: Collection[str]) -> None:
        for known in [known for known in (*self.files, *self.links) if known.startswith(start) and known not in keep]:
            self._drop(known)

    def _drop(self, name: str) -> None:
        self.links.pop(name, None)
        content = self.files.pop(name, None)
        if content:
            content.path.unlink(missing_ok=True)


def unpack(files: Sequence[FileSpec], path_of: PathOf, into: Path, *, reserve: int, tick: Tick) -> list[Unpacked]:
    """The content of those of the files that are archives, as files of their folders, with their bytes.

    `path_of` says where an archive is. `into` is an empty folder of ours: the bytes are put into it. `tick` gets the
    bytes of each piece, and may raise. Raises BadArchive for whatever is not just files in a folder; NoSpace before
    `reserve` is touched; LocalFault.
    """
    found: list[Unpacked] = []
    for folder in dict.fromkeys(file.unpack for file in files if file.unpack):
        own = into / str(len(found))
        with local_faults(folder, where=into):
            own.mkdir(mode=0o700)
        archives = [file for file in files if file.unpack == folder]
        tree = _laid_over([(file.filename, path_of(file)) for file in archives], own, reserve, tick)
        for name, content in sorted(tree.items()):
            spec = FileSpec(str(PurePosixPath(folder) / name), content.sha256, archives[0].uri, content.size)
            found.append(Unpacked(spec, content.path))
    return found


def _laid_over(archives: Iterable[tuple[str, Path]], into: Path, reserve: int, tick: Tick) -> dict[str, Content]:
    tree = _Tree()
    for name, path in archives:
        tree.fresh.clear()
        with local_faults(name, where=into):
            _Layer(tree, name, path, into, reserve, tick).read()
    _settle_links(tree, into)
    try:
        places.refuse_twins(tree.files)
    except NameTaken as error:
        raise BadArchive(str(error)) from None
    return tree.files


@dataclass
class _Layer:
    tree: _Tree
    name: str
    path: Path
    into: Path
    reserve: int
    tick: Tick
    size: int = 0

    def read(self) -> None:
        with self.path.open("rb") as file:
            for member in members(file, self.name, self._count):
                self.tree.entries += 1
                if self.tree.entries > MOST_ENTRIES:
                    raise BadArchive(f"{self.name} has more than {MOST_ENTRIES:,} entries.")
                self._take(member)

    @cached_property
    def _most(self) -> int:
        return _MOST_SMALL + _MOST_RATIO * self.path.stat().st_size

    def _count(self, count: int) -> None:
        self.size += count
        if self.size > self._most:
            raise BadArchive(f"{self.name} becomes more than {bytes_text(self._most)} when it is unpacked.")
        self.tick(count)

    def _take(self, member: Member) -> None:
        if member.kind == "folder" and not member.name.strip("./"):
            return
        name = self._checked(member.name)
        folder, _, last = name.rpartition("/")
        self.tree.clear_way(name)
        if last == _OPAQUE:
            self.tree.empty(folder)
        elif last.startswith(_WHITEOUT):
            self.tree.remove("/".join(filter(None, [folder, self._checked(last.removeprefix(_WHITEOUT))])))
        elif member.kind == "folder":
            self.tree.clear_way(f"{name}/")
        else:
            self._put(name, member)

    def _put(self, name: str, member: Member) -> None:
        self.tree.remove(name)
        self.tree.fresh.add(name)
        if member.kind == "link":
            self.tree.links[name] = self._target(name, member.link)
        else:
            self.tree.files[name] = self._written(member)

    def _checked(self, name: str) -> str:
        try:
            return "/".join(parts_of(name.removeprefix("./").rstrip("/")))
        except UnsafePath as error:
            raise BadArchive(f"{self.name} has a name in it that cannot be kept. {error}") from None

    def _target(self, name: str, link: str) -> str:
        """The name a link leads to, inside of the archive."""
        target: list[str] = list(PurePosixPath(name).parent.parts)
        for part in link.split("/"):
            if part == "..":
                if not target:
                    raise self._leaves(name, link)
                target.pop()
            elif part not in {"", "."}:
                target.append(part)
        if link.startswith("/") or not target:
            raise self._leaves(name, link)
        return self._checked("/".join(target))

    def _leaves(self, name: str, link: str) -> BadArchive:
        return BadArchive(f"{self.name} has a link that leaves its folder: {name[:200]!r} leads to {link[:200]!r}.")

    def _written(self, member: Member) -> Content:
        path = self.into / str(self.tree.entries)
        if member.size > self._most:
            raise BadArchive(f"{self.name} has a file of {bytes_text(member.size)} in it, more than it can hold.")
        lacking = member.size + self.reserve - free_space(self.into)
        if lacking > 0:
            raise NoSpace(lacking, str(self.into))
        hasher = hashlib.sha256()
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)
            for piece in member.data:
                hasher.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return Content(path, member.size, hasher.hexdigest())


def _above(name: str) -> list[str]:
    """The folders on the way to a name; with a slash at its end, the name itself too."""
    return [name[:at] for at, character in enumerate(name) if character == "/"]


def _settle_links(tree: _Tree, into: Path) -> None:
    """A link to a file of the archive becomes a second name of the same bytes; any other is an error."""
    for number, name in enumerate(sorted(tree.links)):
        seen, target = {name}, tree.links[name]
        while target in tree.links and target not in seen:
            seen.add(target)
            target = tree.links[target]
        found = tree.files.get(target)
        if found is None:
            raise BadArchive(f"The link {name[:200]!r} leads to {target[:200]!r}, which is no file of the archive.")
        path = into / f"link-{number}"
        with local_faults(name, where=into):
            path.hardlink_to(found.path)
        tree.files[name] = Content(path, found.size, found.sha256)
