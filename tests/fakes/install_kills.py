"""A lane of kills: installs, installs anew and roll backs of a model, by real workers that are killed meanwhile.

`python -m tests.fakes.install_kills FOLDER KILLS SEED [--whole] [--short] [--power]`, with the environment that
`tests.fakes.kill_lanes` gives it, prints a line of JSON for every job, and ends with 1 when something was lost.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from gallery.downloads import placing  # noqa: E402
from gallery.downloads.sharing import LEAST_PART  # noqa: E402
from gallery.downloads.state import State as IngestState  # noqa: E402
from gallery.downloads.store import Ingest  # noqa: E402
from gallery.models import Job, Revision  # noqa: E402
from gallery.services import deletions, installs, rollback  # noqa: E402
from gallery.states import ACTIVE, WORKING  # noqa: E402
from tests.fakes import http_server, power  # noqa: E402
from tests.fakes.install_world import FULL, SHORT, Scale, Version, look, offer, version  # noqa: E402
from tests.fakes.killed import Alone, Killed, Whole  # noqa: E402

#: Seconds after each 64 KiB of an answer: a connection brings about 3 MiB a second.
PAUSE = 0.02
PATIENCE = 90.0
#: A job that took ten workers down is given up.
_MOST = 4
#: What may wait in a socket of the server. Bytes.
_LINE = 16 << 10

RESOLVING, EARLY, MIDDLE, LATE = "while resolving", "early in the download", "in its middle", "late in it"
VERIFYING, BEFORE, BETWEEN = "while verifying", "before the first move", "between two moves"
PLACED, RECORDED, CLEARING = "before the row", "before it was done", "while clearing up"
MOMENTS = [RESOLVING, EARLY, MIDDLE, LATE, VERIFYING, BEFORE, BETWEEN, PLACED, CLEARING]
OF_ROLLBACK = [RESOLVING, BEFORE, BETWEEN, PLACED, CLEARING]


class Trial:
    """One job, and what is done to it. `before` and `after` are what the models folder looks like."""

    def __init__(self, lane: "Lane", kind: str, before: dict[str, str], after: Version, moments: list[str]) -> None:
        self.lane, self.kind, self.before, self.after = lane, kind, before, after
        self.models: Path = settings.MODELS_PATH
        self.moments = moments
        self.seen = after.seen()
        self.changes = [name for name in self.seen if before.get(name) != self.seen[name]]
        #: What has to come over the wire. Bytes.
        fetched = {} if kind == "roll back" else after.bodies
        self.size = sum(len(body) for name, body in fetched.items() if name in self.changes)
        self.hit: list[str] = []
        self.deaths = 0
        #: A worker was killed that had done the job already.
        self.was_late = False
        self.inodes = {name: self._inode(name) for name in self.changes}
        self.job = Job()

    @property
    def folder(self) -> Path:
        return self.models / ".ingest" / str(self.job.pk)

    @property
    def sent(self) -> int:
        return sum(self.lane.server.sent[f"/{name}"] for name in self.after.bodies)

    def state(self) -> str:
        return str(Job.objects.values_list("state", flat=True).get(pk=self.job.pk))

    def run(self, ask: Callable[[], Job]) -> None:
        self.lane.server.sent.clear()
        self.job = ask()
        for moment in self.moments:
            if self._comes(moment):
                self._kill()
        self._until(lambda: self.state() not in ACTIVE)
        self._assert_good()

    # --- the moment

    def _comes(self, moment: str) -> bool:
        """Wait for the moment; returns False when it had passed before it was seen."""
        chance, end = self.lane.chance, time.monotonic() + PATIENCE
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
        return f":{self.lane.worker.pid}:" in lease

    def _inode(self, name: str) -> int:
        with suppress(FileNotFoundError):
            return (self.models / name).stat().st_ino
        return 0

    # --- the kill

    def _kill(self) -> None:
        self.lane.worker.kill()
        state = self.state()
        if state == "done" and not self.folder.exists():
            self.was_late = True
            self.lane.worker.go_on()
            return
        self.hit.append(self._where(state))
        if self.lane.power:
            power.lose(self.models)
        self.deaths += state in WORKING
        self._assert_whole()
        self.lane.worker.go_on()

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
        copy = self.lane.folder / "copy"
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
        self._until(lambda: not (self.models / ".ingest").exists(), 5, "there is still something in .ingest")
        died = sum("died while it was" in why for why in self.whys())
        assert (died, self.job.attempt) == (self.deaths, 1 + self.deaths), (died, self.deaths, self.job.attempt)
        if self.hit[-1:] != [CLEARING] and not self.was_late:
            assert self._is_held(), f"held by {self.job.worker}, and the worker is {self.lane.worker.pid}"
        assert not Job.objects.active().exists()
        self._assert_revisions()
        twice = self.sent - self.size
        most = self.size // 100 + LEAST_PART * len(self.hit)
        assert 0 <= twice <= most or self.lane.power, f"{twice:,} bytes were fetched twice, {most:,} would be allowed"

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
            "kind": f"{self.kind}, no power" if self.lane.power else self.kind,
            "name": name,
            "size": self.size,
            "twice": twice,
            "kills": self.hit,
            "fault": fault,
        }


class Lane:
    """`folder` has the data folder in it, which the settings name. With `power`, that is lost at each kill, too."""

    def __init__(
        self, folder: Path, server: http_server.Server, killed: Killed, seed: int, scale: Scale, *, power: bool
    ) -> None:
        self.power = power
        self.folder, self.server, self.worker, self.scale = folder, server, killed, scale
        self.seed, self.chance = seed, random.Random(seed)
        self.kills = 0
        self.hit: Counter[tuple[str, str]] = Counter()

    def run(self, kills: int) -> None:
        """Models one after the other, each installed, installed anew and rolled back. Raises AssertionError."""
        for number in range(kills * 2):
            if self.kills >= kills:
                return
            self._one_model(f"m{number}", kills)

    def _one_model(self, name: str, kills: int) -> None:
        first, second = (version(name, number, self.scale, self.seed) for number in (1, 2))
        self._try("install", {}, first, kills, lambda: installs.request(_wish(offer(self.server, first, PAUSE)), None))
        if self.kills < kills:
            update = self.chance.random() < 0.5
            wish = _wish(offer(self.server, second, PAUSE)) | ({"update": True} if update else {})
            self._try("install anew", first.seen(), second, kills, lambda: installs.request(wish, None))
        if self.kills < kills:
            back = lambda: rollback.request_rollback(name, 1, None)  # noqa: E731
            self._try("roll back", second.seen(), first, kills, back)
        self._delete(name)

    def _try(self, kind: str, before: dict[str, str], after: Version, kills: int, ask: Callable[[], Job]) -> None:
        trial = Trial(self, kind, before, after, self._chosen(kind, kills - self.kills))
        try:
            trial.run(ask)
        except AssertionError as error:
            print(json.dumps(trial.told(str(error)[:600] or "it is not what it should be")), flush=True)
            raise
        self.hit.update((kind, moment) for moment in trial.hit)
        self.kills += len(trial.hit)
        print(json.dumps(trial.told()), flush=True)

    def _chosen(self, kind: str, most: int) -> list[str]:
        """The moments that were hit least, so that all have their share, in the order in which they come."""
        known = OF_ROLLBACK if kind == "roll back" else MOMENTS
        by_need = sorted(known, key=lambda moment: (self.hit[kind, moment], self.chance.random()))
        return sorted(by_need[: min(most, self.chance.randint(1, _MOST))], key=MOMENTS.index)

    def _delete(self, name: str) -> None:
        job = deletions.request_delete(name, None)
        end = time.monotonic() + PATIENCE
        while Job.objects.get(pk=job.pk).state in ACTIVE:
            assert time.monotonic() < end, "the deletion does not end"
            time.sleep(0.02)
        left = [path.name for path in settings.MODELS_PATH.iterdir()]
        assert not left, f"left after the deletion: {left[:5]}"


def _wish(entry: dict[str, Any]) -> dict[str, Any]:
    return installs.wish_of(entry)


def _difference(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    return [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)][:8]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kills", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--power", action="store_true")
    options = parser.parse_args()
    settings.MODELS_PATH.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    killed = Whole(options.folder) if options.whole else Alone(options.folder)
    with http_server.running(on_the_line=_LINE) as server:
        killed.start()
        try:
            scale = SHORT if options.short else FULL
            Lane(options.folder, server, killed, options.seed, scale, power=options.power).run(options.kills)
        except AssertionError:
            traceback.print_exc(limit=-3)
            return 1
        finally:
            killed.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
