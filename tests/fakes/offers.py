"""A gallery with one entry, phi, whose versions are offered one after the other from a real server."""

import hashlib
from typing import Any

import yaml

from gallery.catalog.entries import entry_from
from gallery.catalog.identity import entry_digest
from gallery.models import Entry, Gallery, Job
from gallery.services import installs, rollback, running
from gallery.states import Kind
from tests.fakes.http_server import Server


class Offers:
    def __init__(self, server: Server, gallery: str = "own") -> None:
        self.server = server
        self.gallery = Gallery.objects.create(name=gallery, url=f"https://{gallery}.test/", digest="0")

    def entry(self, name: str = "phi", files: dict[str, bytes] | None = None, **data: Any) -> Entry:
        """An entry as its gallery has it now; the gallery's digest changes with it, as a refresh would have it."""
        bodies = {f"{name}.gguf": b"weights"} if files is None else files
        listed = [
            {"filename": file, "sha256": sha(body), "uri": self.server.gives(f"/{sha(body)[:12]}", body)}
            for file, body in bodies.items()
        ]
        whole = {"name": name, "files": listed, **data}
        if "url" not in data:
            whole.setdefault("config_file", {"backend": "llama-cpp", "parameters": {"model": f"{name}.gguf"}})
        facts = {"data": whole, "digest": entry_digest(entry_from(whole))}
        entry, _ = Entry.objects.update_or_create(gallery=self.gallery, name=name, defaults=facts)
        Gallery.objects.filter(pk=self.gallery.pk).update(digest=facts["digest"])
        self.gallery.refresh_from_db()
        return entry

    def recipe(self, name: str = "phi", *, templates: dict[str, str] | None = None, **config: Any) -> str:
        """The address of a recipe."""
        content = {
            "config_file": yaml.safe_dump({"backend": "llama-cpp", "parameters": {"model": f"{name}.gguf"}, **config}),
            "prompt_templates": [{"name": key, "content": text} for key, text in (templates or {}).items()],
        }
        return self.server.gives(f"/{name}.yaml", yaml.safe_dump(content).encode())


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def worked(job: Job) -> Job:
    """What a worker does with it, once."""
    running.run(job.pk, rollback.run_rollback if job.kind == Kind.ROLLBACK else installs.run_install)
    job.refresh_from_db()
    return job


def install(entry: Entry, name: str = "", *, update: bool = False, by: Any = None, **more: Any) -> Job:
    wish = {**installs.wish_for(entry, name), **more}
    return worked(installs.request({**wish, "update": True} if update else wish, by))
