"""What a plan says beside files and memory: licence, backend, what to think of first, and what stands against it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings

from gallery.catalog.entries import CatalogEntry
from gallery.catalog.recipes import InstallRecipe
from gallery.downloads.errors import UnsafeFiles
from gallery.downloads.safety import Verdict, refuse
from gallery.entry_facts import trusts_remote_code
from gallery.markdown import is_safe_link
from gallery.services.plan_files import CONFLICT, PlannedFile
from localai_admin.lib.plain import map_at
from localai_admin.lib.units import bytes_text
from models import secrets
from models.configs import render
from models.fit import Fit
from models.runtime.backends import BackendMissing, backend_for, find_backend

#: Licences whose text is at SPDX, by the names people write.
_SPDX = {
    name.lower(): name
    for name in (
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "GPL-2.0", "GPL-3.0", "LGPL-3.0", "AGPL-3.0", "MPL-2.0",
        "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "ISC", "Unlicense", "Artistic-2.0",
    )
}  # fmt: skip


def licence(recipe: InstallRecipe, entry: CatalogEntry) -> dict[str, str]:
    """{name, link}: the text of a licence that is known, else the model's own page; each may be empty."""
    name = str(recipe.gallery_file.get("license") or entry.license or "").strip()
    if known := _SPDX.get(name.lower()):
        return {"name": name, "link": f"https://spdx.org/licenses/{known}.html"}
    pages = [str(url) for url in recipe.gallery_file.get("urls") or ()]
    return {"name": name, "link": next((url for url in pages if is_safe_link(url)), "")}


def configuration(recipe: InstallRecipe) -> str:
    """The YAML that is written; what is secret in it is not shown."""
    if not recipe.config:
        return ""
    shown = secrets.masked(recipe.config)
    if recipe.config_text and shown == recipe.config:
        return recipe.config_text.decode("utf-8", "replace")
    return render(shown)


def backend(recipe: InstallRecipe) -> dict[str, Any]:
    """{name, here, sentence, action}: which backend the model needs, and whether that is on this host."""
    model = map_at(recipe.config, "parameters").get("model")
    name = backend_for(str(recipe.config.get("backend") or ""), model if isinstance(model, str) else "")
    if not name:
        sentence = "The configuration names no backend." if recipe.config else ""
        return {"name": "", "here": not recipe.config, "sentence": sentence, "action": ""}
    try:
        found = find_backend(name, [settings.BACKENDS_PATH, *settings.SYSTEM_BACKENDS])
    except BackendMissing as error:
        sentence, _, action = str(error).partition(". ")
        return {"name": name, "here": False, "sentence": f"{sentence}.", "action": action}
    return {"name": name, "here": True, "sentence": f"It is here, as {found.name}.", "action": ""}


def warnings(
    *,
    recipe: InstallRecipe,
    files: Sequence[PlannedFile],
    backend: Mapping[str, Any],
    memory: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    changes: Mapping[str, Any] | None,
) -> list[dict[str, str]]:
    """What a person should know before saying yes, the gravest first."""
    found = [*_of_trust(recipe, files, verdicts), *_of_running(backend, memory), *_of_files(files, changes)]
    return [{"kind": kind, "sentence": sentence} for kind, sentence in found]


def _of_trust(
    recipe: InstallRecipe, files: Sequence[PlannedFile], verdicts: Sequence[Verdict]
) -> Iterator[tuple[str, str]]:
    for verdict in verdicts:
        if verdict.result == "unknown" or (verdict.result == "unsafe" and settings.HF_SCAN != "block"):
            yield verdict.result, verdict.sentence
    if trusts_remote_code(recipe.config):
        yield (
            "remote code",
            "This model runs code that comes with it: whoever publishes it can run programs on this host "
            "(trust_remote_code).",
        )
    if plain := [file.filename for file in files if file.uri.lower().startswith("http://")]:
        yield (
            "no TLS",
            f"{_named(plain)} {_verb(plain, 'comes', 'come')} without TLS: anybody on the way can change it.",
        )
    if without := [file.filename for file in files if not file.sha256]:
        yield (
            "no digest",
            f"{_named(without)} {_verb(without, 'has', 'have')} no digest: what arrives cannot be checked against "
            "what was published.",
        )


def _of_running(backend: Mapping[str, Any], memory: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if memory["fit"] in {Fit.NOT, Fit.TIGHT}:
        yield "memory", str(memory["sentence"])
    if backend["name"] and not backend["here"]:
        yield "backend", f"It can be installed, but not loaded yet. {backend['sentence']} {backend['action']}".strip()


def _of_files(files: Sequence[PlannedFile], changes: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if changes is not None:
        yield (
            "replaces",
            "A model of this name is installed. It is replaced once all is here, and can come back.",
        )
    for file in files:
        if file.error and file.error["passes"]:
            yield "not reached", f"{file.filename}: {file.error['sentence']} The install tries again by itself."
    unknown = [file.filename for file in files if file.size is None and not file.error]
    if unknown:
        yield "size", f"The size of {_named(unknown)} is not said by {_verb(unknown, 'its server', 'their servers')}."
    if unchecked := [file.filename for file in files if file.unchecked]:
        yield (
            "not checked",
            f"{_named(unchecked)} {_verb(unchecked, 'seems', 'seem')} to be here; whether "
            f"{_verb(unchecked, 'it is', 'they are')} the very same is checked during the install.",
        )


def safety(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """{policy, verdicts}: what the scan of the repositories found, and what is done about it."""
    return {
        "policy": settings.HF_SCAN,
        "verdicts": [
            {
                "repository": verdict.repository,
                "result": verdict.result,
                "files": list(verdict.files),
                "sentence": verdict.sentence,
            }
            for verdict in verdicts
        ],
    }


def refusals(
    files: Sequence[PlannedFile],
    texts: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any],
    verdicts: Sequence[Verdict],
) -> list[dict[str, str]]:
    """Why it cannot be installed as it is: {cause, sentence, action} of each reason."""
    return [
        {"cause": cause, "sentence": sentence, "action": action}
        for cause, sentence, action in [
            *_unsafe(verdicts),
            *_conflicts(files, texts),
            *_not_given(files),
            *_no_space(space),
        ]
    ]


def _unsafe(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, str]]:
    try:
        refuse(verdicts, settings.HF_SCAN)
    except UnsafeFiles as error:
        yield error.cause, str(error), error.action


def _conflicts(files: Sequence[PlannedFile], texts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    found = [(file.filename, file.detail) for file in files if file.status == CONFLICT]
    found += [(text["filename"], text["detail"]) for text in texts if text["status"] == CONFLICT]
    for name, detail in found:
        yield (
            "conflict",
            f"{name} cannot be put in place. {detail}",
            "Delete or rename the file that is there, or delete the model it belongs to.",
        )


def _not_given(files: Sequence[PlannedFile]) -> Iterator[tuple[str, str, str]]:
    for file in files:
        if file.error and not file.error["passes"] and file.status != CONFLICT:
            yield (
                file.error["cause"],
                f"{file.filename} is not to be had: {file.error['sentence']}",
                file.error["action"],
            )


def _no_space(space: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if space["missing"]:
        missing = bytes_text(space["missing"])
        kept = f", with {bytes_text(space['reserve'])} kept free" if space["reserve"] else ""
        yield "no space", f"It does not fit on the disk: {missing} missing{kept}.", f"Free {missing}, or more."


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} files"


def _verb(names: Sequence[str], one: str, more: str) -> str:
    return one if len(names) == 1 else more
