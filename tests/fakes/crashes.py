"""A console that is used as a person uses it, killed at chosen moments, and watched from the outside meanwhile."""

import hashlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from gallery.downloads.partial import bytes_here
from localai_admin.lib.supervise import answers
from models.runtime.identity import Identity, marked
from tests.fakes import http_server, power, tiny_gguf
from tests.fakes.console import Console, looking_at, query
from tests.fakes.node import FAKES
from tests.fakes.person import Person
from tests.fakes.real_gallery import entry
from tests.fakes.watch import Watch

#: How long anything may take on a machine that is busy with other things. Seconds.
PATIENCE = 60.0
_TEMPLATES = 300
_KILLS_IN_A_ROW = 3
#: A model that can be loaded, made long by bytes that nobody reads, and a second file.
LARGE, SMALL = 2 << 20, 1 << 20


def until(true: Callable[[], Any], seconds: float = PATIENCE, pause: float = 0.05, what: object = "") -> Any:
    """Wait for it, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"it never happened: {what() if callable(what) else what}"
        time.sleep(pause)
    return found


class Missed(Exception):
    """The moment was too short to be seen this time; nothing was killed."""


@dataclass(frozen=True)
class Model:
    """A model of the gallery. `bodies` are what its files have to be in the end."""

    name: str
    bodies: dict[str, bytes]

    @property
    def sizes(self) -> dict[str, int]:
        return {file: len(body) for file, body in self.bodies.items()}


class Site:
    """A console with a gallery of its own, whose files come slowly from a server of its own."""

    #: Entries of a gallery whose refresh takes a moment.
    BIG = 1600

    def __init__(self, folder: Path, server: http_server.Server, **environment: str) -> None:
        self.folder, self.server = folder, server
        self.source = folder / "gallery"
        self.source.mkdir(parents=True)
        self.weights = tiny_gguf.write(folder / "tiny.gguf").read_bytes().ljust(LARGE, b"\0")
        self.index: list[dict[str, Any]] = []
        self.console = Console(
            folder / "data",
            LOCALAI_ADMIN_FILE_ROOTS=str(self.source),
            LOCALAI_ADMIN_TRUSTED_HOSTS="127.0.0.1",
            LOCALAI_ADMIN_ALLOW_HTTP="true",
            LOCALAI_ADMIN_BACKEND_STOP_SECONDS="4",
            LOCALAI_GALLERIES=json.dumps(
                [{"name": name, "url": (self.source / f"{name}.yaml").as_uri()} for name in ("own", "big")]
            ),
            LOCALAI_BACKENDS_PATH=str(FAKES),
            **environment,
        )
        self.models = self.console.data / "models"
        self.models.mkdir(parents=True)
        self._database: sqlite3.Connection | None = None
        self.kills: Counter[str] = Counter()
        self.sizes: dict[str, dict[str, int]] = {}
        self.watch = Watch(self.models, self.sizes)

    def begin(self) -> "Site":
        self.write_index()
        self.write_big("none")
        self.console.start()
        self.person = Person(self.console).sign_up()
        self.refresh()
        return self

    def end(self) -> None:
        self.console.stop()
        if self._database:
            self._database.close()
        assert not self.processes()
        self.watch.end()

    # --- the gallery

    def model(self, name: str, *, version: int = 0, pause: float = 0.02) -> Model:
        """An entry of two files and many templates, so that putting them in place takes a moment."""
        # No two have the same bytes: a file that is here under another name would not be fetched.
        own = hashlib.sha256(f"{name} {version}".encode()).digest()[:8]
        bodies = {
            f"{name}.gguf": self.weights[:-8] + own,
            f"{name}-mmproj.gguf": random.Random(f"{name}{version}").randbytes(SMALL),
        }
        for file, body in bodies.items():
            self.server.gives(f"/{file}", body, pause=pause, etag=f'"{version}"')
        config = yaml.safe_dump({"backend": "llama-cpp", "context_size": 512, "parameters": {"model": f"{name}.gguf"}})
        templates = [{"name": f"{name}-{n}", "content": f"{version} {{{{.Input}}}}"} for n in range(_TEMPLATES)]
        recipe = yaml.safe_dump({"name": name, "config_file": config, "prompt_templates": templates}).encode()
        listed = {
            "name": name,
            "url": self.server.gives(f"/{name}.yaml", recipe, wait=0.3),
            "files": [
                {"filename": file, "uri": self.server.url(f"/{file}"), "sha256": hashlib.sha256(body).hexdigest()}
                for file, body in bodies.items()
            ],
        }
        self.index = [one for one in self.index if one["name"] != name] + [listed]
        self.server.sent = type(self.server.sent)()
        return Model(name, bodies)

    def write_index(self) -> None:
        (self.source / "own.yaml").write_text(yaml.safe_dump(self.index or [{"name": "none", "files": []}]))

    def write_big(self, license: str) -> None:
        """A gallery whose refresh takes a moment."""
        entries = [entry(number) | {"license": license} for number in range(self.BIG)]
        (self.source / "big.yaml").write_text(yaml.dump(entries, Dumper=yaml.CSafeDumper))

    def big(self) -> tuple[int, int]:
        """How many entries of the big gallery are of the first and of the second version, as one look sees them."""
        sql = "select sum(license='one'), sum(license='two') from gallery_entry where license in ('one', 'two')"
        [(first, second)] = query(self.console.data, sql)
        return int(first or 0), int(second or 0)

    def write_config(self, name: str, *, backend: str = "llama-cpp", **more: object) -> str:
        """A model that was put into the folder by hand."""
        weights = self.models / "by-hand.gguf"
        if not weights.exists():
            tiny_gguf.write(weights, context=65536)
        config = {
            "name": name,
            "backend": backend,
            "context_size": 512,
            "known_usecases": ["chat"],
            "parameters": {"model": weights.name, "ignore_eos": True},
        }
        (self.models / f"{name}.yaml").write_text(yaml.safe_dump(config | more))
        return name

    def refresh(self) -> None:
        self.write_index()
        self.person.post("/gallery/refresh/")
        known = {entry["name"] for entry in self.index}
        until(lambda: known <= {row[0] for row in self.query("select name from gallery_entry")})
        until(lambda: not self.query("select 1 from gallery_job where kind='refresh' and finished_at is null"))

    # --- what a person does

    def install(self, model: Model) -> str:
        self.sizes[model.name] = model.sizes
        self.person.install("own", model.name)
        return self.job(model.name, "install")

    def delete(self, name: str) -> str:
        self.person.post(f"/gallery/delete/{name}/")
        return self.job(name, "delete")

    def load(self, name: str) -> None:
        self.person.post(f"/models/{name}/load/")

    def stop(self, name: str) -> None:
        self.person.post(f"/models/{name}/stop/")

    def stop_all(self) -> None:
        running = [row[0] for row in self.query("select name from models_instance where desired='running'")]
        for name in running:
            self.stop(name)
        for name in running:
            self.until_instance(name, "stopped")

    # --- what there is to see

    def query(self, sql: str, *values: object) -> list[Any]:
        """What the database says now. One connection is kept: a moment that lasts a millisecond has to be seen."""
        if self._database is None:
            self._database = looking_at(self.console.data)
        return self._database.execute(sql, values).fetchall()

    def job(self, subject: str, kind: str) -> str:
        """The id of the newest job, as the database writes it."""
        found = self.query("select id from gallery_job where subject=? and kind=? order by created_at", subject, kind)
        assert found, f"there is no {kind} job of {subject}"
        return str(found[-1][0])

    def state(self, job: str) -> str:
        return str(self.query("select state from gallery_job where id=?", job)[0][0])

    def whys(self, job: str) -> list[str]:
        return [row[0] for row in self.query("select why from gallery_jobevent where job_id=? order by id", job)]

    def until_job(self, job: str, state: str = "done", seconds: float = PATIENCE) -> None:
        until(lambda: self.state(job) in {state, "failed"}, seconds, what=lambda: self.whys(job))
        assert self.state(job) == state, self.whys(job)

    def instance(self, name: str) -> dict[str, Any]:
        found = self.query(
            "select state, reason, pid, pid_started, address, desired, attempt from models_instance where name=?", name
        )
        keys = ("state", "reason", "pid", "started", "address", "desired", "attempt")
        return dict(zip(keys, found[0], strict=True)) if found else {"state": "none"}

    def instance_whys(self, name: str) -> list[str]:
        sql = "select e.why from models_instanceevent e join models_instance i on i.id=e.instance_id where i.name=?"
        return [row[0] for row in self.query(f"{sql} order by e.id", name)]

    def until_instance(self, name: str, *states: str, seconds: float = PATIENCE) -> dict[str, Any]:
        until(
            lambda: self.instance(name)["state"] in states,
            seconds,
            what=lambda: (self.instance(name), self.instance_whys(name)[-8:]),
        )
        return self.instance(name)

    def processes(self, name: str = "") -> list[Identity]:
        """Every process of this model's backend, or of all, wherever it has gone."""
        one = self.query("select id from models_instance where name=?", name)[0][0] if name else None
        kept = self.console.data / "run" / "owner-id"
        owner = kept.read_text() if kept.exists() else "nobody"
        return [process for instance, found in marked(owner).items() if one in {None, instance} for process in found]

    def cpu(self, name: str, seconds: float = 1.0) -> float:
        """How many cores the backend uses."""
        now = self.instance(name)
        tree = Identity(now["pid"], now["started"]).tree()
        before = sum(sum(process.cpu_times()[:2]) for process in tree)
        time.sleep(seconds)
        return (sum(sum(process.cpu_times()[:2]) for process in tree) - before) / seconds

    def bytes_on_the_way(self, model: Model, number: int) -> int:
        """How much of the model's first or second file is in a job's folder."""
        part = hashlib.sha256(list(model.bodies)[number].encode()).hexdigest()[:16]
        return max((bytes_here(path) for path in self.models.glob(f".ingest/*/{part}.part")), default=0)

    def sent(self, model: Model) -> int:
        return sum(self.server.sent[f"/{file}"] for file in model.bodies)

    # --- what kills

    def kill(
        self,
        name: str,
        when: Callable[[], Any],
        *,
        wish: Callable[[], object] = lambda: None,
        over: Callable[[], Any] = lambda: False,
        whole: bool = False,
        seconds: float = PATIENCE,
    ) -> Any:
        """SIGKILL one part of the console the moment it is true, then everything when it is `whole`, and start that.

        Returns what was true. `wish` is what a person does once all is ready for the kill. Raises Missed when it is
        `over` before the moment was seen.
        Who watches the parts gives up on one that dies all the time; before that, everything is killed, too.
        """
        process = self.console.child(name)
        end = time.monotonic() + seconds
        wish()
        while not (found := when()):
            if over():
                raise Missed
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.0001)
        os.kill(process.pid, signal.SIGKILL)
        self.kills[name] += 1
        if whole or self.kills[name] >= _KILLS_IN_A_ROW:
            self.kill_all()
            self.up()
        else:
            self.until_back(name, process.pid)
        return found

    def kill_all(self) -> None:
        self.console.kill_all()

    def lose_power(self) -> None:
        """What a machine that went off leaves: no process, and rubbish where bytes had not been waited for."""
        self.kill_all()
        for identity in self.processes():
            with suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGKILL)
        power.lose(self.models)

    def up(self) -> None:
        self.kills.clear()
        self.console.start()

    def revive(self) -> None:
        """A console that ended in an earlier test would fail all that come after it: say what it had said, start it."""
        process = self.console.process
        if process is not None and process.poll() is not None:
            print(f"The console had ended with {process.returncode}:\n{self.console.log[-8000:]}")
            self.up()

    def until_back(self, name: str, before: int) -> None:
        """Until the part runs again, as another process than before."""

        def there() -> bool:
            try:
                return self.console.child(name).pid != before and (name != "web" or answers("127.0.0.1", port))
            except AssertionError:
                return False

        port = self.console.port

        until(there)

    # --- what must hold at the end

    def assert_installed(self, model: Model, *, during_an_install: bool = False) -> None:
        for file, body in model.bodies.items():
            assert (self.models / file).read_bytes() == body, f"{file} is not what it should be"
        config = yaml.safe_load((self.models / f"{model.name}.yaml").read_text())
        assert (config["name"], config["parameters"]["model"]) == (model.name, f"{model.name}.gguf")
        assert len(list(self.models.glob(f"{model.name}-*.tmpl"))) == _TEMPLATES
        assert (self.models / f"._gallery_{model.name}.yaml").exists()
        if not during_an_install:
            until(lambda: not list(self.models.glob(".ingest/*")), 10, what=".ingest is not empty")

    def assert_deleted(self, name: str) -> None:
        left = [path.name for path in self.models.iterdir() if name in path.name]
        assert not left, f"these files of {name} were left: {left[:5]}"

    def assert_one_tree(self, name: str) -> None:
        """The processes of the instance's backend are one tree, of the process that is recorded; nobody else's runs."""
        now = self.instance(name)
        assert self.processes(name), f"{name} has no process"
        tree = {process.pid for process in Identity(now["pid"], now["started"]).tree()}
        found = {identity.pid for identity in self.processes(name)}
        assert now["pid"] in found
        assert found <= tree, f"orphans: {[psutil.Process(pid).cmdline() for pid in found - tree]}"

    def assert_nothing_runs(self, name: str, address: str = "") -> None:
        until(lambda: not self.processes(name), 15, what=lambda: self.processes(name))
        if address:
            assert port_is_free(int(address.rpartition(":")[2])), f"{address} is still in use"


def port_is_free(port: int) -> bool:
    return not any(
        connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
        for connection in psutil.net_connections("tcp")
        if connection.laddr
    )
