"""Kills a worker at every step of an update and of a roll back, each time from the same beginning.

`python -m tests.fakes.revision_crashes FOLDER update|rollback` prints a line for each step at which a real process was
killed with SIGKILL, and ends with 0 when the model was one whole revision or the other after every one of them.
"""

import hashlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

NAME = "phi"
JOB_EVENTS = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"}
WRITES = ("INSERT", "UPDATE", "DELETE")
EDITED = 99
MOST_STEPS = 400


def bodies(version: int) -> dict[str, bytes]:
    """The first revision has a file that the second has not, and the other way round; `both.bin` is the same."""
    own = {1: "old/extra.bin", 2: "new/extra.bin"}[version]
    return {"phi.gguf": b"weights %d" % version * 500, "both.bin": b"both" * 100, own: b"extra %d" % version}


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.source = folder, folder / "data", folder / "source"
        self.models, self.kept = self.data / "models", folder / "kept"
        self.source.mkdir(parents=True)
        self.models.mkdir(parents=True)

    def offer(self, version: int) -> dict[str, Any]:
        """The entry of a version, as an index has it."""
        files = []
        for name, body in {**bodies(version), **({"shared.bin": b"shared"} if version == 1 else {})}.items():
            path = self.source / f"{version}-{name.replace('/', '-')}"
            path.write_bytes(body)
            digest = hashlib.sha256(body).hexdigest()
            files.append({"filename": name, "uri": path.as_uri(), "sha256": digest})
        config = {"backend": "llama-cpp", "context_size": 10 * version, "f16": version == 2}
        recipe = {
            "config_file": yaml.safe_dump(config | {"parameters": {"model": "phi.gguf"}}),
            "prompt_templates": [
                {"name": "chat", "content": f"chat {version}"},
                {"name": f"only-{version}", "content": "x"},
            ],
        }
        (self.source / f"{version}.yaml").write_text(yaml.safe_dump(recipe))
        return {"name": NAME, "url": (self.source / f"{version}.yaml").as_uri(), "files": files}

    def files(self) -> dict[str, bytes]:
        """Everything a person sees in the models folder: what is hidden is the console's own, but for the records."""
        found = (path for path in self.models.rglob("*") if path.is_file())
        named = {path.relative_to(self.models).as_posix(): path.read_bytes() for path in found}
        return {name: body for name, body in named.items() if not name.startswith((".ingest", ".previous"))}

    def save(self) -> None:
        shutil.copytree(self.data, self.kept, symlinks=True)

    def restore(self) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(self.kept, self.data, symlinks=True)


def in_child(work: Callable[[], object]) -> int:
    """Do it in a process of its own. Returns what `waitpid` says."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def killed_at(step: int, root: Path) -> None:
    """Once the commit has begun, this process is killed before its n-th change of the models folder or the database."""
    from django.db import connection

    counted, begun = 0, False

    def count() -> None:
        nonlocal counted
        counted += begun
        if counted == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in JOB_EVENTS and str(root) in " ".join(map(str, arguments)):
            count()

    def execute(run: Callable[..., object], sql: str, *rest: object) -> object:
        nonlocal begun
        begun = begun or "committing" in str(rest[0])
        if sql.startswith(WRITES):
            count()
        return run(sql, *rest)

    sys.addaudithook(hook)
    connection.execute_wrappers.append(execute)


def work(job: Any) -> None:
    from gallery.services import installs, rollback, running

    running.run(job.pk, rollback.run_rollback if job.kind == "rollback" else installs.run_install)
    job.refresh_from_db()
    assert job.state == "done", (job.state, job.error)


def install(entry: dict[str, Any], *, update: bool = False) -> Any:
    from gallery.models import Entry, Gallery
    from gallery.services import installs

    gallery, _ = Gallery.objects.get_or_create(name="own", url="https://own.test/index.yaml")
    digest = hashlib.sha256(repr(entry).encode()).hexdigest()
    Entry.objects.update_or_create(gallery=gallery, name=NAME, defaults={"data": entry, "digest": digest})
    wish = {"entry": f"own@{NAME}", "name": NAME}
    return installs.request({**wish, "update": True} if update else wish, None)


def begin(world: World, kind: str) -> None:
    """Installed once and edited by hand, beside a model that uses one of its files; for a roll back, updated then."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    work(install(world.offer(1)))
    (world.models / "other.yaml").write_text("name: other\nparameters: {model: shared.bin}\n")
    path = world.models / f"{NAME}.yaml"
    path.write_text(f"# mine\n{path.read_text()}".replace("context_size: 10", f"context_size: {EDITED}"))
    if kind == "rollback":
        keep(world, "old")
        work(install(world.offer(2), update=True))
        keep(world, "new")


def keep(world: World, name: str) -> None:
    shutil.copytree(world.models, world.folder / name)


def asked(world: World, kind: str) -> Any:
    from gallery.services import rollback

    return rollback.request_rollback(NAME, 1, None) if kind == "rollback" else install(world.offer(2), update=True)


def interrupted(world: World, kind: str, step: int) -> None:
    job = asked(world, kind)
    killed_at(step, world.models)
    work(job)


def look(world: World, before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """What the next worker finds and settles before it goes on: one whole revision, and nothing of the other."""
    from gallery.downloads.store import Ingest
    from gallery.models import Job

    job = Job.objects.latest("created_at")
    if job.state == "done":
        assert world.files() == after
    elif (world.models / ".ingest" / str(job.pk)).exists():
        ingest = Ingest(world.models, str(job.pk))
        assert world.files() == (after if ingest.committed else before), _differ(world.files(), before, after)


def end(world: World, kind: str, before: dict[str, bytes], after: dict[str, bytes]) -> None:
    from django.utils import timezone

    from gallery.models import Job, Revision
    from gallery.services import jobs, kept

    look(world, before, after)
    jobs.recover(timezone.now(), at_start=True)
    job = Job.objects.latest("created_at")
    if job.state != "done":
        work(job)
    assert world.files() == after, _differ(world.files(), before, after)
    rows = list(Revision.objects.order_by("number"))
    numbers = [(row.number, row.is_current, bool(row.kept_in)) for row in rows]
    expected = [(1, False, True), (2, True, False)]
    if kind == "rollback":
        expected = [(1, False, False), (2, False, True), (3, True, False)]
    assert numbers == expected, numbers
    here = next(row for row in rows if row.kept_in)
    aside = {name: (world.models / here.kept_in / name).read_bytes() for name in kept.names_in(here.kept_in)}
    gone = {name: body for name, body in before.items() if after.get(name) != body}
    assert aside == gone, (sorted(aside), sorted(gone))
    folders = sorted(path.name for path in (world.models / ".previous" / NAME).iterdir())
    assert folders == [str(here.number)], folders


def _differ(*found: dict[str, bytes]) -> list[dict[str, bytes]]:
    return [{name: body[:40] for name, body in sorted(files.items())} for files in found]


def main(folder: Path, kind: str) -> int:
    world = World(folder)
    os.environ |= {
        "LOCALAI_ADMIN_DATA": str(world.data),
        "LOCALAI_ADMIN_FILE_ROOTS": str(world.source),
        "LOCALAI_GALLERIES": "[]",
        "LOCALAI_ADMIN_DISK_RESERVE": "0",
        "DJANGO_SETTINGS_MODULE": "localai_admin.settings",
    }
    import django

    django.setup()
    # Here, so that not each of the processes that are forked off reads them anew.
    import gallery.services.rollback  # noqa: F401

    assert in_child(lambda: begin(world, kind)) == 0
    world.save()
    before = world.files()
    assert in_child(lambda: work(asked(world, kind))) == 0
    after = world.files()
    assert before != after
    if kind == "rollback":
        assert before == _seen(world.folder / "new")
        assert after == _seen(world.folder / "old")
    for step in range(1, MOST_STEPS):
        world.restore()
        how = in_child(lambda step=step: interrupted(world, kind, step))
        if how == 0:
            print(f"{step - 1} kills")
            return 0
        assert os.WIFSIGNALED(how), f"step {step} ended by itself"
        if in_child(lambda: end(world, kind, before, after)) != 0:
            print(f"killed before step {step} of the {kind}, the end was not good")
            return 1
    return 2


def _seen(folder: Path) -> dict[str, bytes]:
    world = object.__new__(World)
    world.models = folder
    return world.files()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
