"""What is different between two revisions of a model, and how a person's own changes are carried over."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gallery.downloads.specs import FileSpec
from models.configs import merge

Path = tuple[str, ...]
#: What a configuration says where it says nothing; null is something else.
ABSENT = object()


@dataclass(frozen=True)
class Setting:
    """One value of a configuration, by the keys that lead to it, in two configurations; `ABSENT` where not said."""

    path: Path
    before: Any
    after: Any


@dataclass(frozen=True)
class Edit:
    """What a person changed since the install, and what the new revision says there."""

    path: Path
    installed: Any
    now: Any
    new: Any

    @property
    def is_contested(self) -> bool:
        """Whether the gallery has changed it as well, to something else."""
        return not same(self.new, self.installed) and not same(self.new, self.now)


def same(one: Any, other: Any) -> bool:
    """Equal as YAML: true is not 1."""
    return type(one) is type(other) and bool(one == other)


def leaves(config: Mapping[str, Any]) -> dict[Path, Any]:
    """Every value by its path. Lists are values, and so are empty maps."""
    return dict(_leaves(config, ()))


def _leaves(config: Mapping[str, Any], above: Path) -> Iterator[tuple[Path, Any]]:
    for key, value in config.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Setting]:
    """Values that differ, in the order of the first configuration, then what is new."""
    old, new = leaves(before), leaves(after)
    found = (Setting(path, old.get(path, ABSENT), new.get(path, ABSENT)) for path in {**old, **new})
    return [setting for setting in found if not same(setting.before, setting.after)]


def edits(installed: Mapping[str, Any], now: Mapping[str, Any], new: Mapping[str, Any]) -> list[Edit]:
    """What a person changed in the configuration that an install wrote. The name is not theirs to change here."""
    says = leaves(new)
    return [
        Edit(one.path, one.before, one.after, says.get(one.path, ABSENT))
        for one in settings(installed, now)
        if one.path != ("name",)
    ]


def with_edits(new: Mapping[str, Any], made: Iterable[Edit]) -> dict[str, Any]:
    """The new configuration with a person's changes laid over it; what they took out is left out."""
    result = merge(new, {})
    for edit in made:
        if edit.now is ABSENT:
            _take_out(result, edit.path)
        else:
            over: Any = edit.now
            for key in reversed(edit.path):
                over = {key: over}
            result = merge(result, over)
    return result


def _take_out(config: dict[str, Any], path: Path) -> None:
    for key in path[:-1]:
        config = config.get(key, {})
        if not isinstance(config, dict):
            return
    config.pop(path[-1], None)


def files(before: Iterable[Mapping[str, Any]], after: Iterable[FileSpec]) -> dict[str, Any]:
    """Files that are added, removed and changed, as plain data. `before` is filename, uri, sha256 and size of each."""
    old = {str(file["filename"]): file for file in before}
    new = {file.filename: plain(file) for file in after}
    return {
        "added": [file for name, file in new.items() if name not in old],
        "removed": [dict(file) for name, file in old.items() if name not in new],
        "changed": [
            {"filename": name, "before": dict(old[name]), "after": file}
            for name, file in new.items()
            if name in old and not _is_same_file(old[name], file)
        ],
    }


def plain(file: FileSpec) -> dict[str, Any]:
    return {"filename": file.filename, "uri": file.uri, "sha256": file.sha256, "size": file.size}


def _is_same_file(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """By the digest; where one of the two has none, by where they come from and their sizes."""
    if old.get("sha256") and new.get("sha256"):
        return bool(old["sha256"] == new["sha256"])
    sizes = {file["size"] for file in (old, new) if file.get("size") is not None}
    return old.get("uri") == new.get("uri") and len(sizes) < 2


def templates(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """File names of templates that are added, removed and changed."""
    old, new = dict(before), dict(after)
    return {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and old[name] != new[name]],
    }
