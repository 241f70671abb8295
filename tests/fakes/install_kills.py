"""A lane of kills: installs, installs anew and roll backs of a model, by real workers that are killed meanwhile.

`python -m tests.fakes.install_kills FOLDER KILLS SEED [--whole] [--short] [--power]`, with the environment that
`tests.fakes.kill_lanes` gives it, prints a line of JSON for every job, and ends with 1 when something was lost.
"""

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from gallery.models import Job  # noqa: E402
from gallery.services import deletions, installs, rollback  # noqa: E402
from gallery.states import ACTIVE  # noqa: E402
from tests.fakes import http_server  # noqa: E402
from tests.fakes.install_trial import MOMENTS, OF_ROLLBACK, PATIENCE, Stage, Trial  # noqa: E402
from tests.fakes.install_world import FULL, SHORT, Scale, Version, offer, version  # noqa: E402
from tests.fakes.killed import Alone, Whole  # noqa: E402

#: Seconds after each 64 KiB of an answer: a connection brings about 1.5 MiB a second.
PAUSE = 0.04
#: A job that took ten workers down is given up.
_MOST = 4
#: What may wait in a socket of the server. Bytes.
_LINE = 16 << 10


class Lane:
    """Models one after the other, in the data folder that the settings name."""

    def __init__(self, stage: Stage, seed: int, scale: Scale) -> None:
        self.stage, self.seed, self.scale = stage, seed, scale
        self.kills = 0
        self.hit: Counter[tuple[str, str]] = Counter()

    def run(self, kills: int) -> None:
        """Each is installed, installed anew and rolled back, then deleted. Raises AssertionError."""
        for number in range(kills * 2):
            if self.kills >= kills:
                return
            self._one_model(f"m{number}", kills)

    def _one_model(self, name: str, kills: int) -> None:
        first, second = (version(name, number, self.scale, self.seed) for number in (1, 2))
        self._try(
            "install", {}, first, kills, lambda: installs.request(_wish(offer(self.stage.server, first, PAUSE)), None)
        )
        if self.kills < kills:
            update = self.stage.chance.random() < 0.5
            wish = _wish(offer(self.stage.server, second, PAUSE)) | ({"update": True} if update else {})
            self._try("install anew", first.seen(), second, kills, lambda: installs.request(wish, None))
        if self.kills < kills:
            back = lambda: rollback.request_rollback(name, 1, None)  # noqa: E731
            self._try("roll back", second.seen(), first, kills, back)
        self._delete(name)

    def _try(self, kind: str, before: dict[str, str], after: Version, kills: int, ask: Callable[[], Job]) -> None:
        trial = Trial(self.stage, kind, before, after, self._chosen(kind, kills - self.kills))
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
        by_need = sorted(known, key=lambda moment: (self.hit[kind, moment], self.stage.chance.random()))
        return sorted(by_need[: min(most, self.stage.chance.randint(1, _MOST))], key=MOMENTS.index)

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
            stage = Stage(options.folder, server, killed, random.Random(options.seed), options.power)
            Lane(stage, options.seed, scale).run(options.kills)
        except AssertionError:
            traceback.print_exc(limit=-3)
            return 1
        finally:
            killed.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
