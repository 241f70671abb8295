"""`make soak`: kills parts of a real console at random moments of the main job, and looks whether anything is lost.

First workers of installs, in lanes side by side: prints a line a kind, with the bytes that were fetched twice, and
where the kills hit. Then all parts of a console: prints a table of what was going on, what was killed and how it ended.
The exit code is 1 when something was lost. The seed is printed first: with `ARGS="--seed N"` the same things are tried
in the same order, though at other moments.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.fakes import http_server, kill_lanes
from tests.fakes.crashes import Model, Site, until

#: What is killed, and how often each is chosen. Power takes the backends along, and bytes that were not waited for.
TARGETS = {"worker": 5, "agent": 3, "web": 1, "everything": 3, "power": 2}
LONGEST_WAIT = 4.0
#: States in which a kill finds nothing under way any more.
OVER = {"done", "stopped"}
#: Lanes in which workers are killed, and one in which all of `up` is; of that many kills one is in that.
LANES, OF_WHOLE = 2, 5
#: The model of the starter gallery.
NAME = "gemma-3-270m-q4_k_m"


@dataclass
class Round:
    """One thing that a person wants, and what happened on the way."""

    what: str
    subject: str
    kills: list[str] = field(default_factory=list)
    ended: str = ""
    seconds: float = 0.0
    #: Bytes that were fetched more than once.
    twice: int | None = None


class Soak:
    def __init__(self, site: Site, chance: random.Random) -> None:
        self.site, self.chance = site, chance
        self.rounds: list[Round] = []
        self.installed: list[Model] = []
        self.version = 0

    @property
    def killed(self) -> int:
        return sum(len(done.kills) for done in self.rounds)

    def run_one(self, wish: Callable[[], Round] | None = None) -> None:
        """One wish of a person, or one by chance, with all that is killed meanwhile."""
        choices: list[Callable[[], Round]] = [self.install, self.install, self.load, self.load, self.refresh, self.talk]
        if self.installed:
            choices += [self.install_anew, self.delete, self.delete]
        began = time.monotonic()
        done = Round("?", "?")
        try:
            done = (wish or self.chance.choice(choices))()
            done.ended = done.ended or "as wanted"
        except Exception as error:  # the edge of the loop: what was lost is counted, and the next round begins
            traceback.print_exc(limit=-4, chain=False)
            done = self.rounds[-1]
            done.ended = f"LOST: {str(error)[:300] or type(error).__name__}"
            self.installed = []
        done.seconds = time.monotonic() - began
        print(*cells(done), sep="  ", flush=True)

    # --- what a person wants

    def begin(self, what: str, subject: str) -> Round:
        self.rounds.append(Round(what, subject))
        return self.rounds[-1]

    def install(self) -> Round:
        self.version += 1
        model = self.site.model(
            f"soak{self.version}", version=self.version, pause=self.chance.choice([0.0, 0.06, 0.15])
        )
        done = self.begin("install", model.name)
        self.site.refresh()
        self.site.server.sent.clear()
        self._install(done, model)
        self.installed.append(model)
        return done

    def install_anew(self) -> Round:
        old = self.installed.pop(self.chance.randrange(len(self.installed)))
        self.version += 1
        done = self.begin("install anew", old.name)
        model = self.site.model(old.name, version=self.version, pause=0.08)
        self.site.refresh()
        self._install(done, model)
        self.installed.append(model)
        return done

    def _install(self, done: Round, model: Model) -> None:
        job = self.site.install(model)
        self.kill_now_and_then(done, lambda: self.site.state(job))
        self.site.until_job(job, seconds=180)
        self.site.assert_installed(model)
        done.twice = max(0, self.site.sent(model) - sum(model.sizes.values()))

    def delete(self) -> Round:
        model = self.installed.pop(self.chance.randrange(len(self.installed)))
        done = self.begin("load and delete", model.name)
        self.site.load(model.name)
        if self.chance.random() < 0.7:
            self.site.until_instance(model.name, "ready", "failed")
        job = self.site.delete(model.name)
        self.kill_now_and_then(done, lambda: self.site.state(job), longest=1.0)
        self.site.until_job(job, seconds=180)
        self.site.assert_deleted(model.name)
        self.site.assert_nothing_runs(model.name)
        return done

    def load(self) -> Round:
        name = self.site.write_config(f"hand{self.chance.randrange(5)}")
        done = self.begin("load, then shut down", name)
        self.site.load(name)
        self.kill_now_and_then(done, lambda: self.site.instance(name)["state"])
        self.until_ready(name)
        self.site.assert_one_tree(name)
        address = self.site.instance(name)["address"]
        self.site.stop(name)
        self.kill_now_and_then(done, lambda: self.site.instance(name)["state"], longest=0.6, most=1)
        self.site.until_instance(name, "stopped", seconds=120)
        self.site.assert_nothing_runs(name, address)
        return done

    def until_ready(self, name: str) -> None:
        """A model whose agent was killed too often in a row is given up on, and says so: then it is loaded again."""
        if self.site.until_instance(name, "ready", "failed", seconds=180)["state"] == "failed":
            assert "Gave up" in self.site.instance(name)["reason"], self.site.instance(name)["reason"]
            self.site.load(name)
            self.site.until_instance(name, "ready", seconds=120)

    def talk(self) -> Round:
        name = self.site.write_config("talker", context_size=65536)
        done = self.begin("prompt", name)
        self.site.load(name)
        self.site.until_instance(name, "ready", seconds=120)
        answer = self.site.person.stream(name, "Tell me everything.")
        assert next(answer)
        self.kill(done, "web", lambda: "streaming")
        answer.close()
        until(lambda: self.site.cpu(name) < 0.05, 15, what="the engine goes on")
        self.site.stop(name)
        self.site.until_instance(name, "stopped", seconds=120)
        return done

    def refresh(self) -> Round:
        version = "two" if self.site.big()[0] else "one"
        done = self.begin("refresh", "big")
        self.site.write_big(version)
        self.site.person.post("/gallery/refresh/")
        job = self.site.job("big", "refresh")
        self.kill_now_and_then(done, lambda: self.site.state(job), longest=0.8)
        self.site.until_job(job, seconds=180)
        assert self.site.big() in {(self.site.BIG, 0), (0, self.site.BIG)}
        until(lambda: not self.site.query("select 1 from gallery_job where kind='refresh' and finished_at is null"))
        return done

    def starter(self) -> Round:
        """The real one, of 250 MB: while a package comes, while the model is put together, and once more in between."""
        done = self.begin("starter", "starter")
        self.site.person.post("/starter/", accept_terms="yes")
        job = self.site.job("starter", "starter")
        for state, pause in (("downloading", 3.0), ("downloading", 1.0), ("verifying", 0.1)):
            until(lambda state=state: self.site.state(job) == state, 600, 0.01, what=lambda: self.site.whys(job))
            time.sleep(pause)
            self.kill(done, self.chance.choice(["worker", "everything"]), lambda: self.site.state(job))
        self.site.until_job(job, seconds=600)
        folder = self.site.console.data / "starter"
        assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}.gguf", "index.yaml"]
        assert [row[0] for row in self.site.query("select name from gallery_entry where name=?", NAME)] == [NAME]
        until(lambda: not packages_on_the_way(folder), 10, what="a pip that nobody waits for is still at work")
        return done

    # --- what kills

    def kill_now_and_then(
        self, done: Round, state: Callable[[], str], *, longest: float = LONGEST_WAIT, most: int = 3
    ) -> None:
        for _ in range(self.chance.randint(1, most)):
            time.sleep(self.chance.random() ** 2 * longest)
            if done.kills and state() in OVER:
                return
            target = self.chance.choices(list(TARGETS), list(TARGETS.values()))[0]
            self.kill(done, target, state)

    def kill(self, done: Round, target: str, state: Callable[[], str]) -> None:
        at = state()
        done.kills.append(f"{target} while {at}")
        if target == "power":
            self.site.lose_power()
            self.site.up()
        else:
            part = "worker" if target == "everything" else target
            self.site.kill(part, lambda: True, whole=target == "everything")


def packages_on_the_way(folder: Path) -> list[int]:
    """Processes of pip that fetch into the folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def cells(done: Round) -> tuple[str, ...]:
    twice = "–" if done.twice is None else f"{done.twice >> 10} KiB"
    return done.what, done.subject, f"{done.seconds:.1f} s", twice, done.ended, "; ".join(done.kills)


def print_table(rounds: list[Round]) -> None:
    rows = [("what", "subject", "time", "fetched twice", "ended", "killed"), *map(cells, rounds)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)), row[5]]))


def kill_installs(place: Path, kills: int, seed: int) -> bool:
    """In all so many kills of installs, installs anew and roll backs. Returns whether all ended well."""
    whole = kills // OF_WHOLE
    shares = [whole, *((kills - whole + n) // LANES for n in range(LANES))]
    lanes = [kill_lanes.Lane(place / f"lane-{n}", share, seed + n, whole=n == 0) for n, share in enumerate(shares)]
    began = time.monotonic()
    is_good = kill_lanes.print_summary(kill_lanes.run([lane for lane in lanes if lane.kills]))
    print(f"{time.monotonic() - began:.0f} s\n", flush=True)
    return is_good


def kill_parts(place: Path, options: argparse.Namespace) -> bool:
    """Kills of all parts, whatever goes on. Returns whether nothing was lost."""
    with http_server.running() as server:
        site = Site(place, server).begin()
        soak = Soak(site, random.Random(options.seed))
        try:
            if options.starter:
                soak.run_one(soak.starter)
            while soak.killed < options.kills:
                soak.run_one()
            site.stop_all()
        finally:
            site.end()
    print()
    print_table(soak.rounds)
    lost = sum(done.ended.startswith("LOST") for done in soak.rounds)
    print(f"\n{soak.killed} kills in {len(soak.rounds)} rounds, {lost} with a loss.")
    return not lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--installs", type=int, default=200, help="kills of workers that install; 0 for none")
    parser.add_argument("--kills", type=int, default=60, help="kills of all parts; 0 for none")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--starter", action="store_true", help="the starter gallery, too: it fetches 250 MB")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="localai-admin-soak-") as place:
        is_good = kill_installs(Path(place), options.installs, options.seed) if options.installs else True
        if options.kills or options.starter:
            is_good &= kill_parts(Path(place) / "console", options)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
