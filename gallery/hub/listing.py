"""The files of a repository, pinned to one commit: a few small documents, read within one deadline."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from gallery.downloads.digest import normal
from gallery.hub.errors import NoRepository, NotAllowed, Unreachable
from gallery.hub.references import Reference
from localai_admin.lib.net import Client, NetError, Response, shown
from localai_admin.lib.paths import UnsafePath, parts_of
from localai_admin.lib.plain import list_at, map_at

MAX_FILES = 20_000
_MAX_PAGE_BYTES = 8 << 20
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True)
class RepoFile:
    """`size` is bytes; `sha256` is empty for a small file, which the repository keeps without one."""

    path: str
    size: int | None = None
    sha256: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Repository:
    """What is known of a repository at `commit`. `left_out` counts files whose names no file here can have.

    `gated` is whether its files are given only to those who accepted its terms; `context_size` is tokens.
    """

    repo: str
    commit: str
    files: tuple[RepoFile, ...]
    revision: str = ""
    license: str = ""
    gated: bool = False
    tags: tuple[str, ...] = ()
    pipeline: str = ""
    chats: bool = False
    context_size: int | None = None
    left_out: int = 0
    is_cut: bool = False


@dataclass(frozen=True)
class Hub:
    """Where repositories are: `endpoint` without a slash at its end; `token` may be empty."""

    client: Client
    endpoint: str
    token: str = ""

    def repository(self, reference: Reference, seconds: float) -> Repository:
        """The repository, within so many seconds. Raises HubError."""
        end = time.monotonic() + seconds
        base = f"{self.endpoint}/api/models/{reference.repo}"
        address = f"{base}/revision/{quote(reference.revision, safe='')}" if reference.revision else base
        info, _ = self._ask(address, reference, end)
        if not isinstance(info, dict):
            raise Unreachable(f"{shown(address)} did not answer with what a repository has.")
        commit = info.get("sha")
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise Unreachable(f"{self.endpoint} does not say which commit of {reference.repo} is the current one.")
        files, left_out, is_cut = self._files(f"{base}/tree/{commit}?recursive=true", reference, end)
        known = _known(info)
        return Repository(reference.repo, commit, files, reference.revision, left_out=left_out, is_cut=is_cut, **known)

    def _files(self, address: str, reference: Reference, end: float) -> tuple[tuple[RepoFile, ...], int, bool]:
        files: list[RepoFile] = []
        left_out, seen = 0, {address}
        while True:
            page, following = self._ask(address, reference, end)
            if not isinstance(page, list):
                raise Unreachable(f"{shown(address)} did not answer with a list of files.")
            for item in page:
                file = _file(item)
                left_out += file is None
                if file is not None and file.path:
                    files.append(file)
            address = self._same_host(address, following)
            if not address or address in seen:
                return _in_order(files), left_out, False
            if len(files) >= MAX_FILES:
                return _in_order(files[:MAX_FILES]), left_out, True
            seen.add(address)

    def _same_host(self, address: str, following: str) -> str:
        """The next page's address; the token goes nowhere else, so that another host's is not followed."""
        if not following:
            return ""
        target = urljoin(address, following)
        if urlsplit(target)[:2] != urlsplit(self.endpoint)[:2]:
            raise Unreachable(f"{self.endpoint} sends to another host for the rest of the list.")
        return target

    def _ask(self, address: str, reference: Reference, end: float) -> tuple[Any, str]:
        """The document at an address, and the address of the next page."""
        credentials = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with self.client.open(address, credentials=credentials, seconds=max(0.0, end - time.monotonic())) as answer:
                self._refuse(answer, reference)
                left = end - time.monotonic()
                if left <= 0:
                    raise Unreachable(f"{self.endpoint} is too slow: the list was not here in time.")
                body = answer.read(_MAX_PAGE_BYTES, left)
                found = _NEXT.search(answer.headers.get("Link", ""))
        except NetError as error:
            raise Unreachable(f"{reference.repo} could not be listed: {error}", error.action) from None
        try:
            return json.loads(body), found[1] if found else ""
        except (ValueError, RecursionError):
            raise Unreachable(
                f"{shown(address)} answered with a page instead of a list of files.",
                "Check HF_ENDPOINT when it is set; otherwise try again in a moment.",
            ) from None

    def _refuse(self, answer: Response, reference: Reference) -> None:
        status, code = answer.status, answer.headers.get("X-Error-Code", "")
        page = f"{self.endpoint}/{reference.repo}"
        if status == 200:
            return
        if status in {401, 403} and code == "GatedRepo":
            raise NotAllowed(f"{reference.repo} is given only to those who accepted its terms.", self._way(page), page)
        if status == 404 and code == "RevisionNotFound":
            raise NoRepository(
                f"{reference.repo} has no branch, tag or commit {reference.revision!r}.",
                "Leave it out for the main branch, or correct it.",
            )
        if status in {401, 403, 404}:
            hidden = "" if self.token else " A private one needs HF_TOKEN, which is not set."
            raise NoRepository(
                f"There is no repository {reference.repo}, or this console may not see it.",
                f"Check the spelling.{hidden}",
            )
        if status == 429:
            raise Unreachable(f"{self.endpoint} asks to wait.", "Try again in some minutes; HF_TOKEN raises the limit.")
        raise Unreachable(f"{self.endpoint} answered {status} when asked for {reference.repo}.")

    def _way(self, page: str) -> str:
        token = "the token of this console (HF_TOKEN) belongs to" if self.token else "HF_TOKEN is then set for"
        return f"Accept the terms at {page} with the account that {token}."


def _file(item: object) -> RepoFile | None:
    """A file of a listing, one without a path for a folder; None when no file here can have its name."""
    if not isinstance(item, Mapping):
        return None
    if item.get("type") == "directory":
        return RepoFile("")
    path = item.get("path")
    try:
        parts_of(path if isinstance(path, str) else "")
    except UnsafePath:
        return None
    lfs = map_at(item, "lfs")
    size = lfs.get("size", item.get("size"))
    return RepoFile(str(path), size if _is_count(size) else None, _digest(lfs.get("oid")))


def _digest(value: object) -> str:
    try:
        return normal(value) if isinstance(value, str) else ""
    except ValueError:
        return ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _in_order(files: list[RepoFile]) -> tuple[RepoFile, ...]:
    """By path, each once."""
    return tuple(sorted({file.path: file for file in files}.values(), key=lambda file: file.path))


def _known(info: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of Repository, of what is said beside its files."""
    gguf = map_at(info, "gguf")
    tags = tuple(tag for tag in list_at(info, "tags") if isinstance(tag, str))
    context = gguf.get("context_length")
    tokenizer = map_at(map_at(info, "config"), "tokenizer_config")
    return {
        "license": _license(map_at(info, "cardData"), tags),
        "gated": info.get("gated") not in (None, False, ""),
        "tags": tags,
        "pipeline": str(info.get("pipeline_tag") or ""),
        "chats": bool(gguf.get("chat_template") or tokenizer.get("chat_template")) or "conversational" in tags,
        "context_size": context if _is_count(context) and context else None,
    }


def _license(card: Mapping[str, Any], tags: tuple[str, ...]) -> str:
    said = card.get("license_name") or card.get("license")
    said = said if isinstance(said, str) and said != "other" else ""
    tagged = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")
    return (said or tagged)[:255]
