"""Two workers on one job: one does it, the other lets go."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gallery.services.running import JobRun
from gallery.states import State
from tests.fakes.http_server import Server
from tests.fakes.two_files import LARGE, TwoFiles, at_move, at_progress
from tests.fakes.workers import ASK, RUN, child, described, started

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "when",
    [
        at_progress,  # in the body
        lambda do: at_move(State.VERIFYING, do),  # before anything is looked at
        lambda do: at_move(State.COMMITTING, do),  # just before the commit
    ],
    ids=["in the body", "in verify", "before the commit"],
)
@pytest.mark.parametrize("over_an_earlier", [True, False], ids=["again", "first"])
def test_a_worker_whose_job_was_given_to_another_lets_go_and_harms_nothing(
    two: TwoFiles, when: Callable[[Callable[[], None]], Callable[[JobRun], None]], over_an_earlier: bool
) -> None:
    """It was taken for dead; the other one does all of it while the first one sleeps, and then that one wakes up."""
    if over_an_earlier:
        two.install_earlier()
    two.offer(LARGE, pause=0.03)
    two.ask()
    ends: list[dict[str, bytes]] = []

    def give_away() -> None:
        two.lose_worker()
        two.run()
        two.assert_installed()
        ends.append(two.visible())

    two.run(when(give_away))
    two.assert_installed()
    assert [two.visible()] == ends
    assert [event.to_state for event in two.job.events.all()].count(State.DONE) == 1
    assert not list(two.models.glob(".ingest/*/state.json"))


def test_of_two_processes_that_take_a_job_at_once_one_gets_it(data: Path, server: Server) -> None:
    job = child(data, ASK, described(server, LARGE, "wanted"), "wanted").strip()
    both = [started(data, RUN, job, "", str(data / "go")) for _ in range(2)]
    for process in both:
        assert process.stdout and process.stdout.readline() == "ready\n"
    (data / "go").touch()
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert sorted(one.split("|")[0] for one in said)[0] == "done"
    assert {one.split("|")[3] for one in said if one} == {"1"}
    assert (data / "models/wanted.gguf").read_bytes() == LARGE
