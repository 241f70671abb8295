"""One job of a lane of kills: when its worker is killed, what that leaves, and how it ends."""

import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from gallery.downloads import placing
from gallery.downloads.sharing import LEAST_PART
from gallery.downloads.state import State as IngestState
from gallery.downloads.store import Ingest
from gallery.models import Job, Revision
from gallery.states import ACTIVE, WORKING
from tests.fakes import http_server, killed, power
from tests.fakes.install_world import Version, look
from tests.fakes.killed import Killed

PATIENCE = 90.0

RESOLVING, EARLY, MIDDLE, LATE = "while resolving", "early in the download", "in its middle", "late in it"
VERIFYING, BEFORE, BETWEEN = "while verifying", "before the first move", "between two moves"
PLACED, RECORDED, CLEARING = "before the row", "before it was done", "while clearing up"
MOMENTS = [RESOLVING, EARLY, MIDDLE, LATE, VERIFYING, BEFORE, BETWEEN, PLACED, CLEARING]
OF_ROLLBACK = [RESOLVING, BEFORE, BETWEEN, PLACED, CLEARING]


@dataclass
class Stage:
    """What all jobs of a lane have in common. With `power`, that is lost at each kill, too."""

    folder: Path
    server: http_server.Server
    worker: Killed
    chance: random.Random
    power: bool = False


class Trial:
    """One job, and what is done to it. `before` and `after` are what the models folder looks like."""

    def __init__(self, stage: Stage, kind: str, before: dict[str, str], after: Version, moments: list[str]) -> None:
        self.stage, self.kind, self.before, self.after = stage, kind, before, after
        self.models: Path = settings.MODELS_PATH
        self.moments = moments
        self.seen = after.seen()
        self.changes = [name for name in self.seen if before.get(name) != self.seen[name]]
        #: What has to come over the wire. Bytes.
        fetched = {} if kind == "roll back" else after.bodies
        self.size = sum(len(body) for name, body in fetched.items() if name in self.changes)
        self.hit: list[str] = []
        self.deaths = 0
        #: Bytes that were on the line at the kills, or were sent to processes that had not ended yet.
        self.line = 0
        #: A worker was killed that had done the job already.
        self.was_late = False
        self.inodes = {name: self._inode(name) for name in self.changes}
        self.job = Job()

    @property
    def folder(self) -> Path:
        return self.models / ".ingest" / str(self.job.pk)

    @property
    def sent(self) -> int:
        return sum(self.stage.server.sent[f"/{name}"] for name in self.after.bodies)

    def state(self) -> str:
        return str(Job.objects.values_list("state", flat=True).get(pk=self.job.pk))

    def run(self, ask: Callable[[], Job]) -> None:
        self.stage.server.sent.clear()
        self.job = ask()
        for moment in self.moments:
            if self._comes(moment):
                self._kill()
        self._until(lambda: self.state() not in ACTIVE)
        self._assert_good()

    # --- the moment

    def _comes(self, moment: str) -> bool:
        """Wait for the moment; returns False when it had passed before it was seen."""
        chance, end = self.stage.chance, time.monotonic() + PATIENCE
        is_now = self._watched(moment, chance.random())
        while not is_now():
            if self.state() == "done" and not self.folder.exists():
                return False
            assert time.monotonic() < end, f"{moment} never came: {self.whys()}"
            time.sleep(0.0002)
        time.sleep(chance.random() * {RESOLVING: 0.3, BEFORE: 0.04, PLACED: 0.02}.get(moment, 0.0))
        return True

    def _watched(self, moment: str, where: float) -> Callable[[], bool]:
        if moment in {EARLY, MIDDLE, LATE}:
            least = (MOMENTS.index(moment) - 1 + where) / 3 * self.size
            return lambda: self.sent >= least and self._is_held()
        if moment in {BETWEEN, PLACED}:
            which = len(self.changes) - 1 if moment == PLACED else int(where * (len(self.changes) - 1))
            name = self.changes[which]
            return lambda: self._inode(name) not in {0, self.inodes[name]} and self._is_held()
        wanted = {RESOLVING: "resolving", VERIFYING: "verifying", BEFORE: "committing", CLEARING: "done"}[moment]
        return lambda: self.state() == wanted and self._is_held()

    def _is_held(self) -> bool:
        """Not by a worker that was killed, of which the row still tells until the next one looks."""
        lease = Job.objects.values_list("worker", flat=True).get(pk=self.job.pk)
        return f":{self.stage.worker.pid}:" in lease

    def _inode(self, name: str) -> int:
        with suppress(FileNotFoundError):
            return (self.models / name).stat().st_ino
        return 0

    # --- the kill

    def _kill(self) -> None:
        unread, sent = killed.unread(self.stage.server.port), self.sent
        self.stage.worker.kill()
        self.line += unread + self.sent - sent
        state = self.state()
        if state == "done" and not self.folder.exists():
            self.was_late = True
            self.stage.worker.go_on()
            return
        self.hit.append(self._where(state))
        if self.stage.power:
            power.lose(self.models)
        self.deaths += state in WORKING
        self._assert_whole()
        self.stage.worker.go_on()

    def _where(self, state: str) -> str:
        """What the kill has hit, from what it left."""
        if state == "downloading":
            return [EARLY, MIDDLE, LATE, LATE][min(3, 3 * self.sent // max(1, self.size))]
        if state == "committing":
            left = IngestState.load(self.folder / "state.json")
            if self.job.revisions.exists():
                return RECORDED
            if left.committed or placing.is_complete(self.folder, left.moves):
                return PLACED
            return BETWEEN if look(self.models) != self.before else BEFORE
        return {"queued": RESOLVING, "resolving": RESOLVING, "verifying": VERIFYING, "done": CLEARING}[state]

    def _assert_whole(self) -> None:
        """Either what was there before is there, or what is to come: now, or once half of a commit is settled."""
        now, left = look(self.models), IngestState.load(self.folder / "state.json")
        if left.moves:
            for name, what in now.items():
                assert what in {self.before.get(name), self.seen.get(name)}, f"{name} is neither old nor new"
            now = self._settled()
        is_new = left.committed or (left.moves and placing.is_complete(self.folder, left.moves))
        if self.state() == "done" or is_new:
            assert now == self.seen, f"the new one is not whole: {_difference(now, self.seen)}"
        else:
            assert now == self.before, f"the old one is not whole: {_difference(now, self.before)}"

    def _settled(self) -> dict[str, str]:
        """What the next worker makes of it, tried on a second name of every file."""
        copy = self.stage.folder / "copy"
        shutil.copytree(self.models, copy, copy_function=os.link, symlinks=True)
        Ingest(copy, str(self.job.pk))
        found = look(copy)
        shutil.rmtree(copy)
        return found

    # --- the end

    def _assert_good(self) -> None:
        self.job.refresh_from_db()
        assert self.job.state == "done", self.whys()
        assert look(self.models) == self.seen, f"not what it should be: {_difference(look(self.models), self.seen)}"
        self._until(lambda: not (self.models / ".ingest").exists(), what="there is still something in .ingest")
        died = sum("died while it was" in why for why in self.whys())
        assert (died, self.job.attempt) == (self.deaths, 1 + self.deaths), (died, self.deaths, self.job.attempt)
        if self.hit[-1:] != [CLEARING] and not self.was_late:
            assert self._is_held(), f"held by {self.job.worker}, and the worker is {self.stage.worker.pid}"
        assert not Job.objects.active().exists()
        self._assert_revisions()
        twice, most = self.sent - self.size, self.size // 100 + LEAST_PART * len(self.hit)
        told = f"{twice:,} bytes were fetched twice, {self.line:,} of them on the line; {most:,} would be allowed"
        assert 0 <= twice <= most + self.line or self.stage.power, told

    def _assert_revisions(self) -> None:
        rows = Revision.objects.filter(name=self.after.name).order_by("number")
        found = [(row.number, row.is_current, bool(row.kept_in)) for row in rows]
        last = {"install": 1, "install anew": 2, "roll back": 3}[self.kind]
        assert found == [(n, n == last, n == last - 1) for n in range(1, last + 1)], found
        previous = self.models / ".previous" / self.after.name
        kept = sorted(path.name for path in previous.iterdir()) if previous.exists() else []
        assert kept == ([str(last - 1)] if last > 1 else []), kept

    def whys(self) -> list[str]:
        return list(self.job.events.order_by("pk").values_list("why", flat=True))

    def _until(self, true: Callable[[], bool], seconds: float = PATIENCE, what: str = "the job does not end") -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"{what}: {self.whys()}"
            time.sleep(0.02)

    def told(self, fault: str = "") -> dict[str, Any]:
        twice = self.sent - self.size
        name = f"{self.after.name}, killed {'; '.join(self.hit) or 'never'}, of {'; '.join(self.moments) or 'none'}"
        return {
            "kind": f"{self.kind}, no power" if self.stage.power else self.kind,
            "name": name,
            "size": self.size,
            "twice": twice,
            "line": self.line,
            "kills": self.hit,
            "fault": fault,
        }


def _difference(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    return [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)][:8]
