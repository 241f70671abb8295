"""Starts lanes of `tests.fakes.install_kills`, side by side on data folders of their own, and sums up what they say."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from gallery.downloads.sharing import LEAST_PART
from tests.fakes.console import ROOT


@dataclass
class Kind:
    """What came of all jobs of a kind. `twice` are bytes that were sent twice, `worst` the most of a job a kill.

    `unread` is how many of them nobody had read when the worker was killed.
    """

    kills: int = 0
    good: int = 0
    jobs: int = 0
    size: int = 0
    twice: int = 0
    unread: int = 0
    worst: float = 0.0
    moments: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, told: dict[str, Any]) -> None:
        kills = len(told["kills"])
        self.jobs += 1
        self.moments.update(told["kills"])
        self.kills += kills
        if told["fault"]:
            self.faults.append(f"{told['name']} of {told['lane']}: {told['fault']}")
            return
        self.good += kills
        self.size += told["size"]
        self.twice += told["twice"]
        self.unread += told["line"]
        self.worst = max(self.worst, told["twice"] / max(1, kills))

    def line(self, name: str) -> str:
        percent = 100 * self.twice / self.size if self.size else 0.0
        parts, worst = self.twice / LEAST_PART / max(1, self.kills), self.worst / LEAST_PART
        return (
            f"{name:<13} {self.kills:4} kills in {self.jobs:3} jobs, {self.good:4} good ends; fetched twice: "
            f"{self.twice / (1 << 20):7.1f} MiB of {self.size / (1 << 20):8.1f}, {percent:5.2f} %, "
            f"{parts:.2f} parts a kill, {worst:.2f} in the worst job; "
            f"{self.unread / (1 << 20):.1f} MiB were on the line"
        )


@dataclass
class Lane:
    """One process with a data folder, a server, and workers that it kills.

    `whole`: all of `up`, not a worker alone; `power` is lost at each kill, too; `short`: of smaller models.
    """

    folder: Path
    kills: int
    seed: int
    whole: bool = False
    short: bool = False
    power: bool = False

    def start(self) -> "subprocess.Popen[str]":
        self.folder.mkdir(parents=True)
        options = [f"--{name}" for name in ("whole", "short", "power") if getattr(self, name)]
        command = [sys.executable, "-m", "tests.fakes.install_kills", str(self.folder), str(self.kills), str(self.seed)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALAI_", "DJANGO_"))}
        environment = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "localai_admin.settings",
            "LOCALAI_ADMIN_DATA": str(self.folder / "data"),
            "LOCALAI_ADMIN_TRUSTED_HOSTS": "127.0.0.1",
            "LOCALAI_ADMIN_ALLOW_HTTP": "true",
            "LOCALAI_ADMIN_DISK_RESERVE": "0",
            "LOCALAI_GALLERIES": "[]",
        }
        return subprocess.Popen(
            [*command, *options], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


def run(lanes: Sequence[Lane]) -> dict[str, Kind]:
    """All lanes to their ends. What they say besides their jobs is printed."""
    kinds: dict[str, Kind] = {}
    readers = [Thread(target=_read, args=(lane, kinds)) for lane in lanes]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return kinds


def _read(lane: Lane, kinds: dict[str, Kind]) -> None:
    process = lane.start()
    for told in _told(process):
        kinds.setdefault(told["kind"], Kind()).add({**told, "lane": lane.folder.name})
    if process.wait() != 0:
        kinds.setdefault("a lane", Kind()).faults.append(f"{lane.folder.name} ended with {process.returncode}")


def _told(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            if line.startswith('{"kind"'):
                yield json.loads(line)
            else:
                print(line, end="", flush=True)


def print_summary(kinds: dict[str, Kind]) -> bool:
    """A line a kind, and where the kills hit. Returns whether all ended well."""
    print(f"\nA part is {LEAST_PART >> 20} MiB: the least that a connection takes at a time.")
    for name, kind in kinds.items():
        print(kind.line(name))
    for name, kind in kinds.items():
        print(f"{name}: killed " + ", ".join(f"{moment} {count}" for moment, count in kind.moments.most_common()))
        for fault in kind.faults:
            print(f"LOST {name} {fault}")
    kills, good = sum(kind.kills for kind in kinds.values()), sum(kind.good for kind in kinds.values())
    print(f"{kills} kills of installs, {good} good ends.", flush=True)
    return kills == good and not any(kind.faults for kind in kinds.values())
