import pytest

from models.runtime.restarts import HOPELESS, LIMIT, Backoff, Cause, Facts, GiveUp, decide, exit_name


@pytest.mark.parametrize(
    ("attempt", "delay"),
    [
        (0, 2.0),  # the first failure
        (1, 4.0),
        (2, 8.0),
        (3, 16.0),  # the last one that is tried again
    ],
)
def test_each_failure_in_a_row_doubles_the_wait(attempt: int, delay: float) -> None:
    decision = decide(Facts(attempt=attempt, cause=Cause.EXITED, exit_code=1))
    assert isinstance(decision, Backoff)
    assert (decision.delay, decision.attempt) == (delay, attempt + 1)


def test_jitter_makes_the_wait_longer_by_a_quarter_at_most() -> None:
    decision = decide(Facts(attempt=0, cause=Cause.EXITED, jitter=1.0))
    assert isinstance(decision, Backoff)
    assert decision.delay == 2.5


def test_the_fifth_failure_in_a_row_is_the_last() -> None:
    decision = decide(Facts(attempt=LIMIT - 1, cause=Cause.EXITED, exit_code=1))
    assert isinstance(decision, GiveUp)
    assert "after 5 failures in a row" in decision.reason
    assert "load it again" in decision.reason


@pytest.mark.parametrize("cause", sorted(HOPELESS))
def test_nothing_is_tried_again_when_a_retry_cannot_help(cause: Cause) -> None:
    decision = decide(Facts(attempt=0, cause=cause, detail="There is no backend 'x'. Install it."))
    assert decision == GiveUp(1, "There is no backend 'x'. Install it.")


def test_a_refused_load_is_tried_again_twice() -> None:
    decisions = [decide(Facts(attempt=n, cause=Cause.LOAD_REFUSED, detail="Refused.")) for n in range(3)]
    assert [type(decision) for decision in decisions] == [Backoff, Backoff, GiveUp]


def test_a_good_run_clears_the_failures_before_it() -> None:
    decision = decide(Facts(attempt=4, cause=Cause.EXITED, ready_seconds=61))
    assert isinstance(decision, Backoff)
    assert (decision.attempt, decision.delay) == (1, 2.0)


def test_a_run_that_was_ready_for_a_moment_does_not() -> None:
    assert isinstance(decide(Facts(attempt=4, cause=Cause.EXITED, ready_seconds=5)), GiveUp)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "killed, probably because memory ran out (SIGKILL, exit code -9)"),
        (137, "killed, probably because memory ran out (SIGKILL, exit code 137)"),  # as a shell passes it on
        (-6, "aborted after an error of its own (SIGABRT, exit code -6)"),
        (-11, "crashed on an invalid memory access (SIGSEGV, exit code -11)"),
        (-15, "terminated by another program (SIGTERM, exit code -15)"),
        (127, "a command that its run file calls was not found (exit code 127)"),
        (126, "its run file may not be executed (exit code 126)"),
        (0, "it ended by itself, without an error (exit code 0)"),
        (3, "exit code 3"),  # what a program means by it only its log says
        (-64, "ended by a signal (SIGRTMAX, exit code -64)"),
        (255, "exit code 255"),  # no signal has this number
    ],
)
def test_an_exit_code_has_a_name(code: int, words: str) -> None:
    assert exit_name(code) == words


def test_the_reason_tells_what_happened_the_exit_code_and_the_last_line_of_the_log() -> None:
    facts = Facts(
        0, Cause.EXITED, "The backend ended while it was starting.", exit_code=3, last_line="cannot find libmagic.so"
    )
    assert decide(facts).reason == (
        "The backend ended while it was starting: exit code 3. "
        "Last line of its log: cannot find libmagic.so. Failure 1 of 5."
    )
