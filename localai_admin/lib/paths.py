"""File names that came from somewhere else, checked before they are used."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

MAX_NAME = 1000
MAX_COMPONENT_BYTES = 255
#: Leaves room for `._gallery_` before it and `.yaml` after it in one component.
MAX_MODEL_NAME_BYTES = 200
_NEVER_IN_A_NAME = {"Cc", "Cs", "Zl", "Zp"}
#: Characters that show nothing, or turn the text around: two names with and without them look the same.
_INVISIBLE = "Cf"


class UnsafePath(ValueError):
    """A name that would leave its folder, or that no file can have. A retry does not help: the name has to change."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why
        super().__init__(f"The file name {name[:200]!r} {why}.")


def inside(root: Path, name: str) -> Path:
    """Where `name` (relative, with `/`) is below `root`, with every link on the way followed. Raises UnsafePath.

    The last component is kept as it is, so that replacing the path replaces a link and not what it points to; a link
    that points out of the root is refused all the same. Call this at the moment of use: folders change.
    """
    parts = parts_of(name)
    top = root.resolve()
    try:
        path = (top.joinpath(*parts[:-1]).resolve() if parts[1:] else top) / parts[-1]
        resolved = path.resolve() if os.path.islink(path) else path  # noqa: PTH114  (which may raise)
    except (OSError, RuntimeError):
        raise UnsafePath(name, "cannot be followed: a link on the way leads in a circle") from None
    if not (path.parent.is_relative_to(top) and resolved.is_relative_to(top) and resolved != top):
        raise UnsafePath(name, "leads out of its folder through a link; remove the link")
    return path


def parts_of(name: str) -> tuple[str, ...]:
    """The components of a relative name; raises UnsafePath. Looks at the text only, not at any folder."""
    why = _fault(name)
    if why:
        raise UnsafePath(name, why)
    return PurePosixPath(name).parts


def is_open(path: Path, roots: Iterable[Path], private: Path | None = None) -> bool:
    """Whether a resolved path is below one of the roots. A root that holds the private folder does not open that."""
    return any(
        path.is_relative_to(root) and not (private and private.is_relative_to(root) and path.is_relative_to(private))
        for root in (root.resolve() for root in roots)
    )


def is_plain(name: str) -> bool:
    """Whether a name that was found on a disk can stand in a page and in a URL: it is UTF-8, in one line."""
    return not any(unicodedata.category(character) in _NEVER_IN_A_NAME for character in name)


def is_model_name(name: str) -> bool:
    """Whether a model can be called that: it names one file, with `/` written as `__`, that is not hidden."""
    return not _fault(name) and not (
        name != name.strip()
        or any(unicodedata.category(character) == _INVISIBLE for character in name)
        or name.startswith((".", "/"))
        or len(name.encode()) > MAX_MODEL_NAME_BYTES
        or any(part in {"", "."} for part in name.split("/"))
    )


def file_name_for_model(name: str) -> str:
    """The stem of a model's files: `a/b` is `a__b`, without an ending. Raises UnsafePath when it is no model name."""
    if not is_model_name(name):
        raise UnsafePath(
            name, f"is no name for a model; use letters, digits, . _ - and at most {MAX_MODEL_NAME_BYTES} bytes"
        )
    return name.replace("/", "__")


def same_name_key(name: str) -> str:
    """Equal for two names that some file systems, or a person, cannot tell apart: by case or by Unicode form."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _fault(name: str) -> str:
    """What is wrong with the text of a relative name; empty when nothing is."""
    if not name or name.endswith("/"):
        return "names no file"
    if not is_plain(name):
        return "has a control character in it"
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if "\\" in name or name.startswith("/"):
        return "is not relative to its folder"
    parts = name.split("/")
    if ".." in parts:
        return "leads out of its folder by .."
    if not PurePosixPath(name).parts:
        return "names no file"
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        return f"has a part that is longer than {MAX_COMPONENT_BYTES} bytes"
    return ""
