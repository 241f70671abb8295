"""A PostgreSQL server of the tests' own, on a free port and in a folder that is thrown away."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.console import free_port

_INSTALLED = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, the newest one; None when there is no PostgreSQL here."""
    found = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


@contextmanager
def running() -> Iterator[str]:
    """The address of a server with an empty database."""
    tools = programs()
    assert tools, "no PostgreSQL here"
    # Not pytest's own folder: another user has to come in.
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        folder = Path(place)
        folder.chmod(0o777)
        with _server(tools, folder) as address:
            yield address


@contextmanager
def _server(tools: Path, folder: Path) -> Iterator[str]:
    port, data = free_port(), folder / "data"
    said = ["-U", "console", "--no-sync", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8"]
    _run(tools / "initdb", "-D", str(data), *said)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    _run(tools / "pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgres://console@127.0.0.1:{port}/postgres"
    finally:
        _run(tools / "pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def _run(*command: str | Path) -> None:
    """It refuses to be run by root."""
    by = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    # The server keeps the output it was started with: a pipe would never end.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run([*by, *map(str, command)], stdout=said, stderr=said, cwd="/", check=False)
        said.seek(0)
        assert done.returncode == 0, said.read().decode()
