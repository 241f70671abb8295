"""What a person writes to mean a repository, or a file in one."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gallery.hub.errors import HubError

HUGGING_FACE = "https://huggingface.co"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}")
_SCHEMES = ("huggingface://", "hf://", "hf.co/", "huggingface.co/")
_PLACES = frozenset({"tree", "blob", "resolve", "raw", "commit"})
_NOT_MODELS = {"datasets": "a dataset", "spaces": "a space", "collections": "a collection", "papers": "a paper"}
_EXAMPLE = "Write owner/repo, owner/repo@branch, or the link to the repository or one of its files."


@dataclass(frozen=True)
class Reference:
    """`repo` is owner/name; `revision` a branch, tag or commit, empty for the main one; `path` a file or a folder.

    `wanted` is a word of the file's name that was asked for behind a colon, such as Q4_K_M.
    """

    repo: str
    revision: str = ""
    path: str = ""
    wanted: str = ""


def parse(text: str, endpoint: str = HUGGING_FACE) -> Reference:
    """The repository that is meant. Raises HubError, which says how to write it."""
    text = text.strip()
    if len(text) > 2000 or not text.isprintable():
        raise HubError("This is no name of a repository.", _EXAMPLE)
    link = _of_link(text, endpoint)
    if link is not None:
        return _checked(*link, text=text)
    return _checked(*_of_short(text), text=text)


def _of_link(text: str, endpoint: str) -> tuple[str, str, str, str] | None:
    """Repository, revision, path and the wanted word of a link; None when it is none."""
    lower = text.lower()
    for scheme in _SCHEMES:
        if lower.startswith(scheme):
            rest = text[len(scheme) :]
            return _of_path(rest) if "/tree/" in rest or "/blob/" in rest or "/resolve/" in rest else _of_short(rest)
    if not lower.startswith(("http://", "https://")):
        return None
    try:
        url, home = urlsplit(text), urlsplit(endpoint)
        ours = url.hostname in {"huggingface.co", "www.huggingface.co", "hf.co", home.hostname}
    except ValueError:
        ours = False
    if not ours:
        raise HubError(f"{text[:100]!r} is not at {urlsplit(endpoint).hostname}.", _EXAMPLE)
    return _of_path(unquote(url.path))


def _of_short(rest: str) -> tuple[str, str, str, str]:
    rest, _, wanted = rest.partition(":")
    repo, path = _two(rest)
    name, _, revision = repo.partition("@")
    if not revision:
        path, _, revision = path.partition("@")
    return name, revision, path, wanted


def _of_path(path: str) -> tuple[str, str, str, str]:
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] in _NOT_MODELS:
        raise HubError(f"This is {_NOT_MODELS[parts[0]]}, not a model.", "Use the link of a model's repository.")
    repo, place, rest = "/".join(parts[:2]), parts[2:3], parts[3:]
    if not place or place[0] not in _PLACES:
        return repo, "", "", ""
    if rest[:2] == ["refs", "pr"]:
        return repo, "/".join(rest[:3]), "/".join(rest[3:]), ""
    return repo, "".join(rest[:1]), "/".join(rest[1:]), ""


def _two(text: str) -> tuple[str, str]:
    """owner/name, and what follows."""
    owner, _, rest = text.strip("/").partition("/")
    name, _, path = rest.partition("/")
    return f"{owner}/{name}", path


def _checked(repo: str, revision: str, path: str, wanted: str, *, text: str) -> Reference:
    parts = repo.split("/")
    good = len(parts) == 2 and all(_PART.fullmatch(part) for part in parts) and ".." not in repo
    if not good or (revision and (not _REVISION.fullmatch(revision) or ".." in revision)):
        raise HubError(f"{text[:100]!r} is no repository." if text else "No repository is named.", _EXAMPLE)
    return Reference(repo, revision, path.strip("/"), wanted[:40])
