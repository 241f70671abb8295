"""Ends this process when the one that started it has gone, so that nothing keeps memory that nobody asks for."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

_PR_SET_PDEATHSIG = 1
_INTERVAL = 2.0
_OFF = {"false", "0", "no", "off"}


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when `parent` ends. Linux only; elsewhere the closed pipe has to do."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except AttributeError:
        return
    if os.getppid() != parent:
        os._exit(1)


def watch_parent(environment: Mapping[str, str], gone: Callable[[], None]) -> None:
    """Call `gone` once the parent has ended, unless LOCALAI_BACKEND_PARENT_WATCH is false.

    A backend whose parent is already the system's first process was meant to stand alone.
    """
    parent = os.getppid()
    if environment.get("LOCALAI_BACKEND_PARENT_WATCH", "true").strip().lower() in _OFF or parent <= 1:
        return
    interval = _seconds(environment.get("LOCALAI_BACKEND_PARENT_WATCH_INTERVAL", ""))
    threading.Thread(target=_watch, args=(parent, interval, gone), name="parent-watch", daemon=True).start()


def _watch(parent: int, interval: float, gone: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(interval)
    gone()


def _seconds(text: str) -> float:
    """A bare number, or one with s or ms behind it as LocalAI writes them; two seconds when it is neither."""
    text = text.strip().lower()
    scale = 0.001 if text.endswith("ms") else 1.0
    try:
        return max(0.05, float(text.removesuffix("ms").removesuffix("s")) * scale)
    except ValueError:
        return _INTERVAL
