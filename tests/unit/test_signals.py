"""Signals reach a program that is waiting for them, whatever it has in its hands."""

import subprocess
import sys

#: The lock of the event is taken as `wait` takes it, and the signal comes just then.
CODE = """
import os, signal
from threading import Event
from localai_admin.lib import signals
stop = Event()
received = signals.set_at(stop, [signal.SIGTERM, signal.SIGHUP])
with stop._cond:
    os.kill(os.getpid(), signal.SIGHUP)
print(stop.wait(10), signal.SIGHUP in received, signal.SIGTERM in received)
"""


def test_a_signal_that_comes_while_the_event_is_locked_is_not_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["True", "True", "False"]
