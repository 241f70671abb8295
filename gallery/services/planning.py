"""Working out what an install would do, without fetching any of it.

The answer is plain data, which pages show and programs may ask for. Bytes are whole numbers, None where nobody knows:

    name, entry ({gallery, name, description} or None), license ({name, link}), update
    step            0 once the recipe is known, 1 when all is
    files           see PlannedFile
    texts           [{filename, status: write | here | replace | conflict, detail}]
    templates       [{filename, content}]
    configuration   the YAML that is written, secrets masked; empty when there is none
    totals          {files, fetch, here, write, unknown_sizes, to_fetch}
    disk            {free, after, reserve, missing, exact}
    memory          {fit, sentence, method, need, parts: [{name, bytes}], context_size, header, host}
    backend         {name, here, sentence, action}
    safety          {policy: block | warn | off, verdicts: [{repository, result, files, sentence}]}
    warnings        [{kind, sentence}]
    refusals        [{cause, sentence, action}]: why it cannot be installed as it is
    changes         what becomes different of the installed model (see revisions.difference), or None
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from gallery.catalog.entries import CatalogEntry
from gallery.catalog.recipes import InstallRecipe
from gallery.downloads.errors import DownloadError
from gallery.downloads.safety import Verdict
from gallery.downloads.specs import FileSpec
from gallery.downloads.transport import Downloader
from gallery.services import exchange, installs, plan_facts, plan_memory, recipes, revisions, scans
from gallery.services.asking import Asking
from gallery.services.errors import JobError
from gallery.services.plan_files import ELSEWHERE, HERE, Folder, PlannedFile, disk, totals
from gallery.services.transport import downloader
from localai_admin.lib.files import free_space
from localai_admin.lib.net import Timeouts

#: All that is asked of other machines for one plan must be answered in so long. Seconds.
DEADLINE = 20.0
#: Until connected, until an answer begins, and without any data. Seconds.
TIMEOUTS = Timeouts(connect=5.0, header=8.0, stall=5.0)

Show = Callable[[dict[str, Any]], None]


def make(request: Mapping[str, Any], show: Show, seconds: float = DEADLINE) -> dict[str, Any]:
    """The plan of a request. `show` gets what is known as soon as the recipe is, before any server was asked for sizes.

    A size that does not come is None, and its file says why. Raises JobError, CatalogError, DownloadError.
    """
    entry = recipes.entry_of(request)
    gallery = str(request.get("entry", "")).partition("@")[0]
    with downloader(gallery, TIMEOUTS) as transport, Asking(seconds) as asking:
        asked = asking.ask(recipes.resolve_entry, entry, request, transport)
        recipe = asking.answer(asked, f"The recipe of {entry.name}")
        work = _Work(request=request, gallery=gallery, entry=entry, recipe=recipe, transport=transport, asking=asking)
        show(work.draft())
        return work.whole()


@dataclass
class _Asked:
    """A file, and the question for its size when there is one."""

    spec: FileSpec
    size: int | None
    question: Future[int | None] | None = None


class _Work:
    def __init__(
        self,
        *,
        request: Mapping[str, Any],
        gallery: str,
        entry: CatalogEntry,
        recipe: InstallRecipe,
        transport: Downloader,
        asking: Asking,
    ) -> None:
        self._request, self._gallery, self._entry = request, gallery, entry
        self._transport, self._asking = transport, asking
        revision = revisions.current(recipe.name)
        self._keeps = bool(request.get("update"))
        self._recipe = revisions.keeping_edits(revision, recipe) if self._keeps else recipe
        self._changes = revisions.difference(revision, recipe, keeps_edits=self._keeps) if revision else None
        self._folder = Folder(self._recipe, exchange.owned_by(recipe.name))
        self._asked = [_Asked(file, self._folder.knows(file)) for file in recipe.files]

    def draft(self) -> dict[str, Any]:
        """What is known before anybody is asked."""
        files = [self._folder.judge(item.spec, item.size) for item in self._asked]
        return self._data(files, step=0, memory=plan_memory.NOT_YET)

    def whole(self) -> dict[str, Any]:
        for item in self._asked:
            if item.size is None:
                item.question = self._asking.ask(self._transport.size, item.spec.uri)
        cards = self._asking.ask(plan_memory.host)
        header = self._asking.ask(plan_memory.header, self._recipe, self._transport, self._local())
        scan = self._asking.ask(scans.look, self._recipe.files, self._transport)
        files = [self._answered(item) for item in self._asked]
        memory = plan_memory.facts(self._recipe, files, self._asking, header, cards)
        return self._data(files, step=1, memory=memory, verdicts=self._verdicts(scan))

    def _verdicts(self, scan: Future[tuple[Verdict, ...]]) -> tuple[Verdict, ...]:
        try:
            return self._asking.answer(scan, "What the scan of the repository found")
        except DownloadError as error:
            return (Verdict("the repository", "unknown", why=str(error).rstrip(".")),)

    def _answered(self, item: _Asked) -> PlannedFile:
        error = None
        if item.question:
            try:
                item.size = self._asking.answer(item.question, f"The size of {item.spec.filename}")
            except DownloadError as failure:
                error = failure
        planned = self._folder.judge(item.spec, item.size)
        if error:
            planned.error = {
                "cause": error.cause, "sentence": str(error), "action": error.action, "passes": error.retry,
            }  # fmt: skip
        return planned

    def _local(self) -> dict[str, Path]:
        """Files that are here already, by the name they have in the recipe."""
        root, found = Path(settings.MODELS_PATH), {}
        for item in self._asked:
            file = self._folder.judge(item.spec, item.size)
            path = root / (file.same_as or file.filename)
            if file.status in {HERE, ELSEWHERE} and path.is_file():
                found[file.filename] = path
        return found

    def _data(
        self, files: list[PlannedFile], *, step: int, memory: dict[str, Any], verdicts: tuple[Verdict, ...] = ()
    ) -> dict[str, Any]:
        recipe, total = self._recipe, totals(files)
        space = disk(total, free_space(settings.MODELS_PATH))
        backend, texts = plan_facts.backend(recipe), self._folder.texts()
        data = {
            "name": recipe.name,
            "step": step,
            "entry": self._described(),
            "update": self._keeps,
            "license": plan_facts.licence(recipe, self._entry),
            "files": [file.as_json() for file in files],
            "texts": texts,
            "templates": [{"filename": name, "content": content} for name, content in recipe.templates],
            "configuration": plan_facts.configuration(recipe),
            "totals": total,
            "disk": space,
            "memory": memory,
            "backend": backend,
            "safety": plan_facts.safety(verdicts),
            "warnings": self._warnings(files, backend, memory, verdicts) if step else [],
            "refusals": [*self._taken(), *plan_facts.refusals(files, texts, space, verdicts)],
            "changes": self._changes and _with_sizes(self._changes, {file.filename: file.size for file in files}),
        }
        plain: dict[str, Any] = revisions.plain(data)
        return plain

    def _warnings(
        self,
        files: list[PlannedFile],
        backend: dict[str, Any],
        memory: dict[str, Any],
        verdicts: tuple[Verdict, ...],
    ) -> list[dict[str, str]]:
        return plan_facts.warnings(
            recipe=self._recipe,
            files=files,
            backend=backend,
            memory=memory,
            verdicts=verdicts,
            changes=self._changes,
        )

    def _described(self) -> dict[str, Any] | None:
        if not self._gallery:
            return None
        return {"gallery": self._gallery, "name": self._entry.name, "description": self._entry.summary}

    def _taken(self) -> list[dict[str, Any]]:
        try:
            installs.refuse_taken(self._recipe.name)
        except JobError as error:
            return [{"cause": error.cause, "sentence": str(error), "action": error.action}]
        return []


def _with_sizes(changes: dict[str, Any], sizes: Mapping[str, int | None]) -> dict[str, Any]:
    """What changes, with the sizes that the servers said where the recipe says none."""

    def sized(file: dict[str, Any]) -> dict[str, Any]:
        return {**file, "size": sizes.get(file["filename"], file["size"])}

    files = changes["files"]
    changed = [{**one, "after": sized(one["after"])} for one in files["changed"]]
    return {**changes, "files": {**files, "added": [sized(file) for file in files["added"]], "changed": changed}}
