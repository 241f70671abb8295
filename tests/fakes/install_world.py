"""Versions of a model on a server of ours, and what is to be seen of them in a models folder."""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.http_server import Server

MIB = 1 << 20
#: What the recipe keeps people waiting for, so that there is a moment in which it is found out what is needed. Seconds.
_RECIPE = 0.25
_TEMPLATES = 12


@dataclass(frozen=True)
class Scale:
    """Bytes of a large file, of each of three, and of each of twenty."""

    large: int
    middle: int
    small: int


FULL = Scale(64 * MIB, 8 * MIB, 256 << 10)
SHORT = Scale(24 * MIB, 2 * MIB, 64 << 10)


@dataclass(frozen=True)
class Version:
    """`number` is in the configuration. Two versions have some files in common, and each has one of its own."""

    name: str
    number: int
    bodies: dict[str, bytes]

    @property
    def digests(self) -> dict[str, str]:
        return {file: hashlib.sha256(body).hexdigest() for file, body in self.bodies.items()}

    def seen(self) -> dict[str, str]:
        """What the models folder looks like when this version is whole: names, and what each is."""
        texts = {f"{name}.tmpl": _digest(content.encode()) for name, content in self.templates()}
        own = (f"{self.name}.yaml", f"._gallery_{self.name}.yaml")
        return self.digests | texts | dict.fromkeys(own, f"of version {self.number}")

    def templates(self) -> list[tuple[str, str]]:
        names = [f"{self.name}-chat-{n}" for n in range(_TEMPLATES)] + [f"{self.name}-only-{self.number}"]
        return [(name, f"{self.number} {{{{.Input}}}} {name}") for name in names]


def version(name: str, number: int, scale: Scale, seed: int) -> Version:
    """Every third of the small files, and one of the middle ones, is the same in all versions."""

    def body(file: str, size: int, same: bool = False) -> bytes:
        return random.Random(f"{seed} {file} {0 if same else number}").randbytes(size)

    sizes = {f"{name}.gguf": scale.large}
    sizes |= {f"{name}-{n}.bin": scale.middle for n in range(3)}
    sizes |= {f"{name}/{n:02}.bin": scale.small for n in range(19)}
    sizes[f"{name}/only-{number}.bin"] = scale.small
    same = {f"{name}-1.bin", *(f"{name}/{n:02}.bin" for n in range(0, 19, 3))}
    return Version(name, number, {file: body(file, size, file in same) for file, size in sizes.items()})


def offer(server: Server, made: Version, pause: float) -> dict[str, Any]:
    """Let the server give this version, also where it gave another; returns its entry."""
    weights = {"model": f"{made.name}.gguf"}
    config = yaml.safe_dump({"backend": "llama-cpp", "context_size": made.number, "parameters": weights})
    templates = [{"name": name, "content": content} for name, content in made.templates()]
    recipe = yaml.safe_dump({"name": made.name, "config_file": config, "prompt_templates": templates}).encode()
    digests = made.digests
    for file, body in made.bodies.items():
        server.gives(f"/{file}", body, pause=pause, etag=f'"{digests[file][:16]}"')
    return {
        "name": made.name,
        "url": server.gives(f"/{made.name}.yaml", recipe, wait=_RECIPE),
        "files": [
            {"filename": file, "uri": server.url(f"/{file}"), "sha256": digest} for file, digest in digests.items()
        ],
    }


def look(models: Path) -> dict[str, str]:
    """Everything in the models folder, but for what is hidden and the console's own; as `Version.seen` says it."""
    return {name: _what(models / name) for name in _names(models)}


def _names(models: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(models):
        folders[:] = [name for name in folders if name not in {".ingest", ".previous"}]
        yield from ((Path(folder) / file).relative_to(models).as_posix() for file in files)


def _what(path: Path) -> str:
    if path.suffix != ".yaml":
        return _digest(path.read_bytes())
    said = yaml.safe_load(path.read_text())
    if path.name.startswith("._gallery_"):
        own = next(file["filename"] for file in said["files"] if "/only-" in file["filename"])
        return f"of version {own.partition('-')[2].partition('.')[0]}"
    return f"of version {said['context_size']}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
