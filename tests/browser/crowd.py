"""A data set that hurts: sixty models with the longest names, every state at once, a long record. Written by hand.

Only the web process is started on it: no worker and no agent, which would set things right.
"""

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.fakes.console import ROOT, Console

SCRIPT = "from tests.browser import crowd_rows; crowd_rows.fill({name!r}, {password!r}, {silent!r})"


class Crowd(Console):
    """The web process alone, on rows and files of `crowd_rows`. With `silent` the agent has not measured for long."""

    def __init__(self, data: Path, name: str, password: str, *, silent: bool = False) -> None:
        super().__init__(data, LOCALAI_ADMIN_GALLERY_ICONS="false")
        self._script = SCRIPT.format(name=name, password=password, silent=silent)

    def start(self, *arguments: str) -> float:
        began = time.monotonic()
        if not (self.data / "static").exists():
            self.manage("migrate", "-v", "0")
            self.manage("collectstatic", "-v", "0", "--noinput")
            self.manage("shell", "-v", "0", "-c", self._script)
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(self.port), "--no-ws",
                   "--log-level", "error", "localai_admin.wsgi:application"]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, text=True, start_new_session=True)
        self._wait(began)
        return time.monotonic() - began

    def _wait(self, began: float) -> None:
        while time.monotonic() - began < 60:
            try:
                urllib.request.urlopen(f"{self.address}/healthz", timeout=2).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the web process did not come up")
