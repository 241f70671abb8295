"""The agent as a program: a data folder of its own, a real database, a real backend."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.runtime.identity import marked
from tests.fakes.console import ROOT, WITHOUT_EXTRAS

LOADED, FOUND = "the model is loaded", "found again after the agent came back"
FAKES = ROOT / "tests" / "fakes" / "backends"
PROGRAM = """
import django, json, sys
django.setup()
from models import services
from models.models import Instance
if sys.argv[1] == "load":
    services.request_load("good", None)
instance = Instance.objects.get()
times = instance.events.filter(why=instance.reason).count()
print(json.dumps([instance.state, instance.pid, instance.desired, instance.reason, times]))
"""


@dataclass
class Console:
    data: Path
    agents: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALAI_", "DJANGO_"))}
        return kept | {
            **WITHOUT_EXTRAS,
            "LOCALAI_ADMIN_DATA": str(self.data),
            "LOCALAI_BACKENDS_PATH": str(FAKES),
            "LOCALAI_GALLERIES": "[]",
            "DJANGO_SETTINGS_MODULE": "localai_admin.settings",
        }

    def call(self, *words: str) -> str:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def start(self, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "manage.py", "run_agent", *options]
        agent = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=subprocess.PIPE, text=True)
        self.agents.append(agent)
        return agent

    def instance(self, act: str = "look") -> list[Any]:

        return json.loads(self.call("-c", PROGRAM, act))

    def until(self, reason: str, times: int = 1) -> list[Any]:
        """What is recorded, once this was the reason of a move for so many times."""
        deadline = time.monotonic() + 30
        while (now := self.instance())[-2:] != [reason, times]:
            assert time.monotonic() < deadline, now
        return now

    def backends(self) -> list[int]:
        kept = self.data / "run" / "owner-id"
        found = marked(kept.read_text()) if kept.exists() else {}
        return [identity.pid for identities in found.values() for identity in identities]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.call("manage.py", "migrate", "--skip-checks", "--verbosity", "0")
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "good.yaml").write_text("name: good\nbackend: good\n")
    yield made
    for agent in made.agents:
        agent.kill()
        agent.communicate()
    for pid in made.backends():
        psutil.Process(pid).kill()


def end(agent: "subprocess.Popen[str]", number: signal.Signals) -> None:
    agent.send_signal(number)
    assert agent.wait(30) == 0


def test_the_agent_starts_what_is_wanted_survives_a_kill_and_takes_it_along_when_it_stops(console: Console) -> None:
    console.instance("load")
    first = console.start()
    pid = console.until(LOADED)[1]
    first.kill()
    first.wait()
    assert console.backends() == [pid]
    second = console.start()
    assert console.until(FOUND)[1] == pid
    end(second, signal.SIGHUP)
    assert console.backends() == [pid]
    third = console.start()
    assert console.until(FOUND, times=2)[1] == pid
    end(third, signal.SIGTERM)
    assert console.backends() == []
    assert console.instance()[:3] == ["stopped", None, "running"]


def test_a_second_agent_is_refused_with_a_sentence(console: Console) -> None:
    first = console.start()
    lock = console.data / "run" / "agent.lock"
    deadline = time.monotonic() + 30
    while not (lock.exists() and lock.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = console.start()
    _, said = second.communicate(timeout=30)
    assert second.returncode != 0
    assert f"Another agent (process {first.pid}) already looks after the backends" in said
    end(first, signal.SIGTERM)


def test_an_agent_told_to_keep_its_backends_leaves_them_at_sigterm(console: Console) -> None:
    console.instance("load")
    agent = console.start("--keep-backends")
    pid = console.until(LOADED)[1]
    end(agent, signal.SIGTERM)
    assert console.backends() == [pid]
