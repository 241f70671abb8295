"""Everything a gallery can get wrong, beside one entry that is all right; and backends that do not come up."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.http_server import Server

FAKES = Path(__file__).resolve().parent
ROOT = FAKES.parents[1]
MIB = 1 << 20

ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1, y: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 50)}], {new}: 1}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
#: By the name of a gallery: what its address answers, and what is said of it.
BAD_INDEXES = {
    "page": (b"<!DOCTYPE html><title>Sign in to the network</title>", "a web page instead of a gallery's index"),
    "map": (b"name: x\nurl: y\n", "it is a map, and an index is a list"),
    "nothing": (b"", "answered with nothing instead of a gallery's index"),
    "no-entries": (b"[]", "no entry that can be used"),
    "merge-bomb": (MERGE_BOMB.encode(), "Aliases here stand for more than 250,000 values"),
    "alias-bomb": (ALIAS_BOMB.encode(), "Aliases here stand for more than 250,000 values"),
    "tower": (b"[" * 300_000, "nested deeper than 64 levels"),
}

#: Where a start may take its time on a busy machine, though the console is told to be impatient.
PATIENT = {"attempts": 30, "attempts_sleep_time": 2}


def entry(server: Server, name: str, body: bytes, *, backend: str = "good", **how: Any) -> dict[str, Any]:
    """An entry with one file that the server gives; `how` is how it does that."""
    uri = server.gives(f"/{name}.gguf", body, **how)
    return {
        "name": name,
        "overrides": {"backend": backend, "parameters": {"model": f"{name}.gguf"}, "grpc": PATIENT},
        "files": [{"filename": f"{name}.gguf", "uri": uri, "sha256": hashlib.sha256(body).hexdigest()}],
    }


def named(server: Server, name: str, filename: str) -> dict[str, Any]:
    """An entry whose file would get that name."""
    made = entry(server, name, b"never to be seen")
    made["files"][0]["filename"] = filename
    return made


def wrong_digest(server: Server) -> dict[str, Any]:
    made = entry(server, "wrong-digest", b"other bytes")
    made["files"][0]["sha256"] = "0" * 64
    return made


def leads_out(server: Server) -> dict[str, Any]:
    made = entry(server, "leads-out", b"good bytes")
    made["overrides"]["parameters"]["model"] = "../../../etc/passwd"
    return made


def index(server: Server) -> bytes:
    """The gallery of which most entries are bad."""
    entries: list[Any] = [
        entry(server, "fine", b"good bytes"),
        {"name": "empty-handed"},
        named(server, "climbs", "../climbed.gguf"),
        named(server, "absolute", "/tmp/absolute.gguf"),
        named(server, "nul", "nul\0.gguf"),
        named(server, "bell", "bell\a.gguf"),
        leads_out(server),
        wrong_digest(server),
        entry(server, "no-gguf", b"<html>not a model</html>", backend="llama-cpp"),
        entry(server, "large", bytes(4 * MIB), cuts=[MIB]),
        entry(server, "unknown-size", bytes(4 * MIB), chunked=True),
        entry(server, "small", b"small bytes"),
        entry(server, "slow", bytes(2 * MIB), pause=0.15),
        entry(server, "meanwhile", b"asked for while the database was locked"),
        entry(server, "breaks-off", bytes(MIB), cuts=[1000] * 5),
        entry(server, "after-the-queue", b"asked for while there was no queue"),
        {"description": "no name"},
        "no map",
    ]
    return yaml.safe_dump(entries, sort_keys=False).encode()


def galleries(server: Server) -> str:
    """LOCALAI_GALLERIES with every kind of bad gallery, and bad settings among them."""
    found: list[Any] = [
        {"name": "own", "url": server.gives("/index.yaml", index(server))},
        {"name": "lost", "url": "https://gallery.invalid/index.yaml"},
        *({"name": name, "url": server.gives(f"/{name}.yaml", body)} for name, (body, _) in BAD_INDEXES.items()),
        {"name": "without-url"},
        {"name": "own", "url": "https://other.invalid/index.yaml"},
        {"name": "a/b", "url": "https://other.invalid/index.yaml"},
        {"name": "crooked", "url": "http://[crooked"},
        "no map at all",
    ]
    return json.dumps(found)


_TAKES_ITS_PORT = """
import pathlib, socket, subprocess, sys
mark = pathlib.Path(__file__).with_name("was-started")
with socket.socket() as other:
    if not mark.exists():
        mark.touch()
        host, port = sys.argv[-1].rsplit(":", 1)
        other.bind((host, int(port)))
        other.listen()
    sys.exit(subprocess.call([{run!r}, *sys.argv[1:]]))
"""


def write_backends(folder: Path) -> None:
    """Backend folders with one fault each, and `good`; `takes-its-port` finds its port taken at its first start."""
    for script in ("good", "exits-at-once", "never-healthy", "refuses-load"):
        _write_run_file(folder / script, f'"{FAKES / "backend_server.py"}" {script}')
    program = folder / "takes-its-port" / "start.py"
    _write_run_file(program.parent, f'"{program}"')
    program.write_text(_TAKES_ITS_PORT.format(run=str(ROOT / "backends/llama-cpp/run.sh")))


def _write_run_file(folder: Path, command: str) -> None:
    folder.mkdir(parents=True)
    run_file = folder / "run.sh"
    run_file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
    run_file.chmod(0o755)
