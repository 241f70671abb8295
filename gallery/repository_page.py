"""What the page of a repository shows: what can be chosen in it, whether that fits, and what it would become."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from gallery.catalog.errors import ImportRefused
from gallery.hub import configuration
from gallery.hub.choices import GGUF, Choice, Choices, choices_in, suggested
from gallery.hub.listing import RepoFile, Repository
from gallery.hub.references import Reference
from gallery.plan_page import FITS
from gallery.templatetags.fit import Badge, fit_of
from models.fit import Fit
from models.runtime.backends import BackendMissing, find_backend

#: A page shows so many; a search finds the others.
ROWS = 500
#: Files that are no weights are named for a look; few.
_OTHERS = 100


@dataclass(frozen=True)
class Row:
    """One choice of the table. `known` is whether the repository says the digest of its weights."""

    choice: Choice
    fit: Badge
    backend: str
    is_here: bool
    is_suggested: bool
    is_chosen: bool
    known: bool


def context(
    repository: Repository, reference: Reference, query: str = "", typed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """For the template; `typed` is what a person had filled in."""
    found = choices_in(repository.files)
    usecase = configuration.suggested_usecase(repository)
    best = _asked_for(found, reference) or suggested(found.models, _fits)
    chosen = str((typed or {}).get("choice") or (best.key if best else ""))
    matching = [choice for choice in found.models if _matches(choice, query)]
    backends = _Backends()
    rows = [_row(choice, usecase, best, chosen, backends) for choice in matching[:ROWS]]
    if chosen and typed and not any(row.is_chosen for row in rows):
        rows += [_row(choice, usecase, best, chosen, backends) for choice in found.models if choice.key == chosen]
    weights = {file.path for choice in found.models for file in choice.files}
    others = [file for file in repository.files if file.path not in weights and file not in found.companions]
    return {
        "repository": repository,
        "rows": rows,
        "row_count": len(matching),
        "choice_count": len(found.models),
        "companions": found.companions,
        "companion": (typed or {}).get("companion", _suggested_companion(found)),
        "others": others[:_OTHERS],
        "other_count": len(others),
        "name": configuration.suggested_name(repository, best) if best else "",
        "usecase": usecase,
        "context_size": configuration.suggested_context(repository),
        "missing_backends": sorted({row.backend for row in rows if not row.is_here}),
        "query": query,
        "token": bool(settings.HF_TOKEN),
        "page": f"https://huggingface.co/{repository.repo}",
    }


def request_for(repository: Repository, data: Mapping[str, Any]) -> dict[str, Any]:
    """The request for what was chosen. Raises ImportRefused when the repository does not have it."""
    found = choices_in(repository.files)
    choice = next((choice for choice in found.models if choice.key == data["choice"]), None)
    if choice is None:
        raise ImportRefused("The repository has no such files.", "Choose one of those in the list.")
    if choice.missing:
        raise ImportRefused(f"{choice.missing} of the parts of {choice.label} are missing.", "Choose another one.")
    companion = _companion(found, choice, data.get("companion") or "")
    name = data.get("name") or configuration.suggested_name(repository, choice)
    wanted = configuration.Wanted(name, data.get("usecase") or "", data.get("context_size"), repository.chats)
    return {"name": name, "described": configuration.described(repository, choice, companion, wanted)}


def _companion(found: Choices, choice: Choice, path: str) -> RepoFile | None:
    if not path or choice.kind != GGUF:
        return None
    companion = next((file for file in found.companions if file.path == path), None)
    if companion is None:
        raise ImportRefused("The repository has no such mmproj file.", "Choose one of those in the list, or none.")
    return companion


def _suggested_companion(found: Choices) -> str:
    """Of half precision, which is what most people take; else the smallest."""
    by_size = sorted(found.companions, key=lambda file: file.size or 0)
    half = next((file for file in by_size if "f16" in file.name.lower() and "bf16" not in file.name.lower()), None)
    best = half or next(iter(by_size), None)
    return best.path if best else ""


def _asked_for(found: Choices, reference: Reference) -> Choice | None:
    """What a link to a file, or a word behind a colon, points to."""
    if reference.path:
        return next((c for c in found.models if any(file.path == reference.path for file in c.files)), None)
    word = reference.wanted.lower()
    return next((c for c in found.models if word and word in c.label.lower()), None)


def _row(choice: Choice, usecase: str, best: Choice | None, chosen: str, backends: "_Backends") -> Row:
    backend = configuration.backend_of(choice.kind, choice.first.path, usecase)
    return Row(
        choice=choice,
        fit=fit_of(choice.size),
        backend=backend,
        is_here=backends.has(backend),
        is_suggested=best is not None and choice.key == best.key,
        is_chosen=choice.key == chosen,
        known=all(file.sha256 for file in choice.files if (file.size or 0) > 1 << 20),
    )


def _matches(choice: Choice, query: str) -> bool:
    return configuration.matches([choice.label, *(file.path for file in choice.files)], query)


def _fits(size: int) -> bool | None:
    word = fit_of(size).word
    return None if word == FITS[Fit.UNKNOWN][0] else word == FITS[Fit.FITS][0]


class _Backends:
    """Which backends are here, each looked for once."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def has(self, name: str) -> bool:
        if name not in self._known:
            self._known[name] = _is_here(name)
        return self._known[name]


def _is_here(name: str) -> bool:
    try:
        find_backend(name, [settings.BACKENDS_PATH, *settings.SYSTEM_BACKENDS])
    except BackendMissing:
        return False
    return True
