"""The models that the settings want here, asked for once after each start of a worker.

An entry that no gallery has is looked for again for as long as a gallery was never read: on a first start the network
may come later than the console.
"""

import logging
import time
from pathlib import Path
from threading import Lock
from typing import Any

from django.conf import settings

from gallery.models import Gallery
from gallery.services import applying
from gallery.services.applying import Outcome

log = logging.getLogger(__name__)

#: A worker has other things to do when it starts: what was not looked at by then waits for the next minute. Seconds.
PATIENCE = 10.0

#: Items that still wait, with the setting that names them; None before the settings were read.
_waiting: list[tuple[str, int, Any]] | None = None
_lock = Lock()


def preload() -> list[Outcome]:
    """Ask for what the settings name and was not asked for yet. Returns what became of each; the log says it, too."""
    global _waiting  # noqa: PLW0603 - once a process
    with _lock:
        if _waiting is None:
            if _is_early():
                return []
            _waiting = _wanted()
        outcomes, left = [], []
        end = time.monotonic() + PATIENCE
        for setting, number, item in _waiting:
            if time.monotonic() > end:
                left.append((setting, number, item))
                continue
            outcome = applying.apply_item(number, item, by=None)
            if outcome.is_missing and _unread().exists():
                left.append((setting, number, item))
            else:
                _say(setting, outcome)
                outcomes.append(outcome)
        _waiting = left
        return outcomes


def begin_anew() -> None:
    """As after a start: everything is asked for again."""
    global _waiting  # noqa: PLW0603 - once a process
    with _lock:
        _waiting = None


def _is_early() -> bool:
    """Whether a gallery was not even asked yet: then the entries' names say nothing."""
    return Gallery.objects.shown().filter(checked_at=None).exists()


def _unread() -> Any:
    return Gallery.objects.shown().filter(refreshed_at=None)


def _wanted() -> list[tuple[str, int, Any]]:
    """Every item of both settings. What is no list is said in the log, and does not stop the worker."""
    found: list[tuple[str, int, Any]] = []
    for setting, said in (
        ("PRELOAD_MODELS", settings.PRELOAD_MODELS),
        ("PRELOAD_MODELS_CONFIG", settings.PRELOAD_FILE),
    ):
        if not said:
            continue
        try:
            text = applying.read_file(Path(said)) if setting == "PRELOAD_MODELS_CONFIG" else said
            found += [(setting, number, item) for number, item in enumerate(applying.items_of(text), start=1)]
        except applying.ListRefused as error:
            log.warning("LOCALAI_%s is not used: %s %s", setting, error, error.action)
    return found


def _say(setting: str, outcome: Outcome) -> None:
    level = logging.WARNING if outcome.is_refused else logging.INFO
    name = outcome.name or "without a name"
    log.log(level, "%s, item %d (%s): %s: %s", setting, outcome.number, name, outcome.result, outcome.sentence)
