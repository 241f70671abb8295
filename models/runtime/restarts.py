"""Whether a backend that failed is started again, when, and the sentence that says why."""

import signal
from dataclasses import dataclass
from enum import StrEnum

LIMIT = 5
LOAD_REFUSED_LIMIT = 3
FIRST_DELAY = 2.0
LONGEST_DELAY = 60.0
#: A run that was ready for longer than this was a good one: what came before it no longer counts. Seconds.
GOOD_RUN = 60.0


class Cause(StrEnum):
    """What went wrong. `Facts.detail` says it in the words of whoever noticed."""

    EXITED = "exited"
    NEVER_HEALTHY = "never healthy"
    UNREACHABLE = "unreachable"
    LOAD_REFUSED = "load refused"
    LOAD_FAILED = "load failed"
    SPAWN_FAILED = "spawn failed"
    GONE = "gone"
    HALF_STARTED = "half started"
    # No retry helps against these.
    CONFIG_INVALID = "config invalid"
    BACKEND_MISSING = "backend missing"
    CANNOT_RUN = "cannot run"
    NOT_SUPPORTED = "not supported"
    MODEL_FILE_MISSING = "model file missing"


HOPELESS = frozenset(
    {Cause.CONFIG_INVALID, Cause.BACKEND_MISSING, Cause.CANNOT_RUN, Cause.NOT_SUPPORTED, Cause.MODEL_FILE_MISSING}
)


@dataclass(frozen=True)
class Facts:
    """A failure.

    attempt: failures in a row before this one. detail: a sentence, without which the cause is told from the exit code.
    exit_code: as Python gives it, negative for a signal; None when unknown. ready_seconds: how long the run was ready.
    jitter: from 0 to 1, so that backends that failed together do not all start together.
    """

    attempt: int
    cause: Cause
    detail: str = ""
    exit_code: int | None = None
    last_line: str = ""
    ready_seconds: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True)
class Backoff:
    """Start again after `delay` seconds; `attempt` is the new number of failures in a row."""

    delay: float
    attempt: int
    reason: str


@dataclass(frozen=True)
class GiveUp:
    attempt: int
    reason: str


Decision = Backoff | GiveUp


def decide(facts: Facts) -> Decision:
    before = 0 if facts.ready_seconds > GOOD_RUN else facts.attempt
    attempt = before + 1
    what = describe(facts)
    if facts.cause in HOPELESS:
        return GiveUp(attempt, what)
    limit = LOAD_REFUSED_LIMIT if facts.cause is Cause.LOAD_REFUSED else LIMIT
    if attempt >= limit:
        return GiveUp(attempt, f"{what} Gave up after {attempt} failures in a row; read the log, then load it again.")
    return Backoff(_delay(attempt, facts.jitter), attempt, f"{what} Failure {attempt} of {limit}.")


def describe(facts: Facts) -> str:
    """What happened, as one or two sentences, with the last line of the log where there is one."""
    happened = facts.detail or "The backend ended."
    if facts.exit_code is not None:
        happened = f"{happened.rstrip('.')}: {exit_name(facts.exit_code)}."
    if facts.last_line and facts.cause not in HOPELESS and facts.last_line not in happened:
        happened = f"{happened} Last line of its log: {_closed(facts.last_line)}"
    return happened


def exit_name(code: int) -> str:
    """What an exit code means: negative for a signal, or 128 + signal as a shell gives it."""
    number = -code if code < 0 else code - 128 if 128 < code < 160 else 0
    if number:
        return f"{_SIGNALS.get(number, 'ended by a signal')} ({_signal_name(number)}, exit code {code})"
    return _CODES.get(code, f"exit code {code}")


_CODES = {
    0: "it ended by itself, without an error (exit code 0)",
    126: "its run file may not be executed (exit code 126)",
    127: "a command that its run file calls was not found (exit code 127)",
}
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "killed, probably because memory ran out",
    signal.SIGABRT: "aborted after an error of its own",
    signal.SIGSEGV: "crashed on an invalid memory access",
    signal.SIGBUS: "crashed on an invalid memory access, or the disk is full",
    signal.SIGILL: "crashed on an instruction this processor does not have",
    signal.SIGFPE: "crashed on an arithmetic error",
    signal.SIGTERM: "terminated by another program",
    signal.SIGINT: "interrupted by another program",
    signal.SIGHUP: "hung up by another program",
}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _delay(attempt: int, jitter: float) -> float:
    """2, 4, 8 … seconds, a quarter more at most, and never over the longest."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt - 1, 16) * (1 + 0.25 * jitter))


def _closed(line: str) -> str:
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."
