"""Files that are there twice: found by their digests, and made one file with two names."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from gallery.disk import walk
from gallery.disk.report import Report
from gallery.disk.walk import Found
from gallery.downloads import digest
from gallery.models import Job
from gallery.services import disk, jobs, known_files, models_folder
from gallery.services.errors import CannotLink
from gallery.services.running import JobRun
from gallery.states import Kind, State
from localai_admin.lib.files import fsync_dir
from localai_admin.lib.paths import UnsafePath, inside
from localai_admin.lib.units import bytes_text

SUBJECT = "the models folder"
#: Smaller files are not worth the look. Bytes.
SMALLEST = 64 << 10


@dataclass(frozen=True)
class Copy:
    """One of several equal files, with all its names in the folder."""

    names: tuple[str, ...]
    users: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class Group:
    """Equal files that each take `size` bytes."""

    sha256: str
    size: int
    copies: tuple[Copy, ...]

    @property
    def freed(self) -> int:
        return self.size * (len(self.copies) - 1)


def groups(found: Report) -> list[Group]:
    """Files that are known to be equal and do not share their bytes yet, the most to gain first. One query."""
    same: dict[str, dict[tuple[int, int], list[Found]]] = defaultdict(lambda: defaultdict(list))
    for path, sha256, size, mtime_ns in known_files.with_twins():
        file = found.files.get(path)
        if file and (file.size, file.mtime_ns) == (size, mtime_ns) and _counts(file):
            same[sha256][file.inode].append(file)
    rows = [_group(sha256, inodes.values(), found) for sha256, inodes in same.items() if len(inodes) > 1]
    return sorted(rows, key=lambda row: (-row.freed, row.sha256))


def request_scan(by: AbstractBaseUser | None) -> Job:
    """Have a worker read every file whose digest is not known."""
    return jobs.create(Kind.SCAN, SUBJECT, {}, by)[0]


def request_link(group: Group, keep: str, by: AbstractBaseUser | None) -> Job:
    """Have a worker make all files of the group one, that of the name `keep`. Raises JobError."""
    if keep not in {name for copy in group.copies for name in copy.names}:
        raise CannotLink(f"{keep} is not one of these files any more.", "Look at the page again.")
    others = sorted(name for copy in group.copies if keep not in copy.names for name in copy.names)
    request = {"sha256": group.sha256, "keep": keep, "others": others}
    return jobs.create(Kind.SCAN, f"copies of {keep}"[:300], {"link": request}, by)[0]


def run_scan(run: JobRun) -> str:
    """Safe to be killed: what is known is written down file by file, and a link takes a file's place in one step."""
    link = run.job.request.get("link")
    return _link(run, link) if link else _scan(run)


# --- Reading --------------------------------------------------------------------------------------------------------


def _scan(run: JobRun) -> str:
    known_files.forget_missing()
    found = walk.walk(Path(settings.MODELS_PATH))
    run.check()
    unknown = _unknown(found)
    total, done = sum(files[0].size for files in unknown), 0
    run.move(State.VERIFYING, "it is known what to read", f"Reading {len(unknown):,} files")
    for files in unknown:
        sha256 = _read(run, files[0].name, done, total)
        for file in files if sha256 else ():
            known_files.remember(file.name, sha256)
        done += files[0].size
        run.progress(done, total)
    run.progress(done, total, final=True)
    run.move(State.COMMITTING, "every file is read", "Comparing")
    disk.forget()
    twice = groups(disk.look())
    too_much = bytes_text(sum(group.freed for group in twice))
    return f"{len(unknown):,} files read; {len(twice):,} are there more than once, {too_much} too much"


def _unknown(found: Sequence[Found]) -> list[list[Found]]:
    """Files to be read, with all their names: first those of which another has the same size, the largest first."""
    known = known_files.all_known()
    names: dict[tuple[int, int], list[Found]] = defaultdict(list)
    sizes: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for file in filter(_counts, found):
        names[file.inode].append(file)
        sizes[file.size].add(file.inode)
    unknown = [files for files in names.values() if any(known.get(f.name) != (f.size, f.mtime_ns) for f in files)]
    return sorted(unknown, key=lambda files: (len(sizes[files[0].size]) < 2, -files[0].size))


def _read(run: JobRun, name: str, done: int, total: int) -> str:
    """The digest of a file; empty when it has changed or is gone. Raises what `run.check` raises."""
    before = known_files.status_of(name)
    if before is None:
        return ""
    at = done

    def tick(count: int) -> None:
        nonlocal at
        run.check()
        at += count
        run.progress(at, total)

    hasher = digest.new()
    try:
        digest.feed(hasher, inside(Path(settings.MODELS_PATH), name), tick)
    except (OSError, UnsafePath):
        return ""
    after = known_files.status_of(name)
    return hasher.hexdigest() if after and known_files.stamp(after) == known_files.stamp(before) else ""


def _counts(file: Found) -> bool:
    return file.size >= SMALLEST and not file.is_hidden and not file.is_link


# --- Linking --------------------------------------------------------------------------------------------------------


def _link(run: JobRun, link: dict[str, Any]) -> str:
    keep, sha256 = link["keep"], link["sha256"]
    names = [keep, *link["others"]]
    stamps = {name: known_files.stamp(status) for name in names if (status := known_files.status_of(name))}
    total = sum(size for size, _ in stamps.values())
    run.move(State.VERIFYING, "it is known what to read", "Reading them once more")
    done = 0
    for name in names:
        if _read(run, name, done, total) != sha256:
            raise CannotLink(f"{name} is not what it was, or is gone.", "Find duplicates again.")
        done += stamps[name][0] if name in stamps else 0
    run.progress(done, total, final=True)
    run.move(State.COMMITTING, "all of them are equal", "Making them one")
    with models_folder.changing():
        freed = sum(_link_one(run, keep, name, stamps) for name in link["others"])
    for name in link["others"]:
        known_files.remember(name, sha256)
    disk.forget()
    return f"{len(names)} names share one file, {bytes_text(freed)} became free"


def _link_one(run: JobRun, keep: str, name: str, stamps: dict[str, tuple[int, int]]) -> int:
    """Put a second name of the kept file in the place of another; returns the bytes that became free."""
    root = Path(settings.MODELS_PATH)
    kept, other = known_files.status_of(keep), known_files.status_of(name)
    if (
        kept is None
        or other is None
        or any(known_files.stamp(s) != stamps[n] for n, s in ((keep, kept), (name, other)))
    ):
        raise CannotLink(f"{name} or {keep} was changed just now.", "Find duplicates again.")
    if kept.st_ino == other.st_ino and kept.st_dev == other.st_dev:
        return 0
    source, target = inside(root, keep), inside(root, name)
    new = target.with_name(f".link-{run.job.pk.hex}")
    try:
        new.unlink(missing_ok=True)
        new.hardlink_to(source)
        new.replace(target)
        fsync_dir(target.parent)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise CannotLink(
            f"{name} cannot share its bytes with {keep}: {error.strerror}.", "Leave both as they are."
        ) from None
    return other.st_size if other.st_nlink == 1 else 0


def _group(sha256: str, inodes: Iterable[list[Found]], found: Report) -> Group:
    copies = [_copy(files, found) for files in inodes]
    return Group(sha256, next(iter(inodes))[0].size, tuple(sorted(copies, key=lambda copy: copy.name)))


def _copy(files: Sequence[Found], found: Report) -> Copy:
    names = sorted(file.name for file in files)
    users = set().union(*(found.users.get(name, ()) for name in names))
    return Copy(tuple(names), tuple(sorted(users)))
