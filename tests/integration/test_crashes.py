"""Killing web, worker or agent with SIGKILL at any point of the main job loses nothing. `make soak` has more of it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, cycle

import pytest

from models.gguf import FIRST_PIECE
from tests.fakes import http_server
from tests.fakes.crashes import LARGE, SMALL, Missed, Model, Site, until

pytestmark = pytest.mark.timeout(180)

_NUMBERS = count()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with http_server.running() as server:
        made = Site(tmp_path_factory.mktemp("crashes"), server)
        try:
            yield made.begin()
        finally:
            made.end()


@pytest.fixture(autouse=True)
def nothing_loaded(site: Site) -> Iterator[None]:
    site.revive()
    yield
    site.stop_all()


@pytest.fixture
def model(site: Site) -> Model:
    return new_model(site)


@pytest.fixture
def slow_model(site: Site) -> Model:
    """One that comes so slowly that it is still on its way when the page of its job is there."""
    return new_model(site, pause=0.06)


def new_model(site: Site, pause: float = 0.02) -> Model:
    made = site.model(f"m{next(_NUMBERS)}x", pause=pause)
    site.refresh()
    return made


Moment = Callable[[Site, Model], bool]


def in_state(*states: str) -> Moment:
    return lambda site, model: site.state(site.job(model.name, "install")) in states


def bytes_of(number: int, least: int) -> Moment:
    return lambda site, model: site.bytes_on_the_way(model, number) >= least


def is_placed(suffix: str) -> Moment:
    return lambda site, model: (site.models / f"{model.name}{suffix}").exists()


#: When the worker is killed, and in what state the job may be then.
MOMENTS: dict[str, tuple[Moment, set[str]]] = {
    "finding out what is needed": (in_state("resolving"), {"resolving"}),
    "in the first file": (bytes_of(0, LARGE // 2), {"downloading"}),
    "in the second file": (bytes_of(1, SMALL // 2), {"downloading"}),
    "everything is here": (in_state("verifying", "committing"), {"verifying", "committing"}),
    "before the first move": (in_state("committing"), {"committing"}),
    "after the first move": (is_placed(".gguf"), {"committing"}),
    "between two moves": (is_placed("-150.tmpl"), {"committing"}),
    "after the last move": (is_placed(".yaml"), {"committing", ""}),
}


#: A moment of some milliseconds can pass unseen on a busy machine; then it is waited for once more.
TRIES = 4


@pytest.mark.parametrize(("moment", "whole"), list(zip(MOMENTS, cycle([False, True]), strict=False)))
def test_an_install_survives_a_kill(site: Site, moment: str, whole: bool) -> None:
    states = MOMENTS[moment][1]
    for _ in range(TRIES):
        interruptions = killed_install(site, moment, whole)
        if interruptions or "" in states:
            break
    assert interruptions <= states
    assert interruptions or "" in states, "the moment was never seen"


def killed_install(site: Site, moment: str, whole: bool) -> set[str]:
    """In what states the job was interrupted. However that went, the model is installed."""
    model = new_model(site)
    job = site.install(model)
    with suppress(Missed):
        site.kill(
            "worker",
            lambda: MOMENTS[moment][0](site, model),
            over=lambda: site.state(job) == "done",
            whole=whole,
        )
    site.until_job(job)
    site.assert_installed(model)
    # What was read and not written, and what was on the line: twice, where the third kill in a row takes everything.
    assert site.sent(model) <= LARGE + SMALL + (2 << 20)
    return {why.rpartition(" ")[2] for why in site.whys(job) if "died while it was" in why}


# --- deleting and installing anew -------------------------------------------------------------------------------------


@pytest.fixture
def installed(site: Site, model: Model) -> Model:
    for file in model.bodies:
        site.server.pages[f"/{file}"].pause = 0.0
    site.until_job(site.install(model))
    return model


def test_the_model_before_works_until_the_new_one_is_committed(site: Site, installed: Model) -> None:
    site.load(installed.name)
    running = site.until_instance(installed.name, "ready", "failed")
    new = site.model(installed.name, version=1, pause=0.01)
    site.refresh()
    job = site.install(new)
    site.kill("worker", lambda: bytes_of(1, SMALL // 2)(site, new))
    site.assert_installed(installed, during_an_install=True)
    # The third kill in a row takes everything, and the next agent says that it found the backend again.
    found = site.until_instance(installed.name, "ready", "failed")
    assert found | {"reason": ""} == running | {"reason": ""}
    site.kill("worker", lambda: (site.models / f"{new.name}.gguf").read_bytes() == new.bodies[f"{new.name}.gguf"])
    site.until_job(job)
    site.assert_installed(new)
    assert "committing" in " ".join(site.whys(job))


@pytest.mark.parametrize("moment", ["while the model is shut down", "after the first file", "between two files"])
def test_a_deletion_survives_a_kill(site: Site, installed: Model, moment: str) -> None:
    name = installed.name
    site.load(name)
    loaded = site.until_instance(name, "ready", "failed")
    assert loaded["state"] == "ready", loaded
    gone = {"after the first file": ".yaml", "between two files": "-150.tmpl"}.get(moment)
    job = site.delete(name)
    site.kill(
        "worker",
        lambda: (
            not (site.models / f"{name}{gone}").exists()
            if gone
            else "shutdown requested" in site.instance_whys(name)[-3:]
        ),
        whole=gone == ".yaml",
    )
    site.until_job(job)
    site.assert_deleted(name)
    site.assert_nothing_runs(name, loaded["address"])
    assert any("died while it was" in why for why in site.whys(job)), site.whys(job)


def test_a_model_without_a_record_is_deleted_whole_when_the_first_try_is_killed(site: Site) -> None:
    """Only its configuration said which files are its own, and that goes first."""
    parts = [f"byhand-{number}.bin" for number in range(1000)]
    for part in parts:
        (site.models / part).write_bytes(b"x")
    site.write_config("byhand", download_files=[{"filename": part, "uri": f"https://x.test/{part}"} for part in parts])
    job = site.delete("byhand")
    site.kill("worker", lambda: not (site.models / "byhand.yaml").exists())
    site.until_job(job)
    site.assert_deleted("byhand")
    assert any("died while it was" in why for why in site.whys(job)), site.whys(job)


# --- refreshing a gallery ---------------------------------------------------------------------------------------------


def test_nobody_sees_half_a_gallery_when_its_refresh_is_killed(site: Site) -> None:
    site.write_big("one")
    site.refresh()
    seen: set[tuple[int, ...]] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            seen.add(site.big())

    looking = threading.Thread(target=look)
    looking.start()
    site.write_big("two")
    site.person.post("/gallery/refresh/")
    job = site.job("big", "refresh")
    site.kill("worker", lambda: site.state(job) == "committing")
    assert "made-1500" in site.person.get("/gallery/?q=made-1500-")
    site.until_job(job)
    over.set()
    looking.join(10)
    assert (site.BIG, 0) in seen
    assert seen <= {(site.BIG, 0), (0, site.BIG)}
    assert site.big() == (0, site.BIG)
    assert any("died while it was committing" in why for why in site.whys(job)), site.whys(job)


def test_a_search_for_duplicates_that_is_killed_goes_on_and_a_link_is_whole_or_not_there(site: Site) -> None:
    folder = site.models / "twins"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number // 2}-{number % 2}.bin").write_bytes(bytes([number // 2 % 256, number // 512]) * (64 << 10))
    known = "select count(*) from gallery_knownfile where path like 'twins/%'"
    site.person.post("/disk/duplicates/scan/")
    job = site.job("the models folder", "scan")
    site.kill("worker", lambda: site.state(job) == "verifying" and site.query(known)[0][0] > 20)
    site.until_job(job)
    assert site.query(known)[0][0] == 400
    digest = site.query("select sha256 from gallery_knownfile where path = 'twins/7-0.bin'")[0][0]
    site.person.post("/disk/duplicates/link/", sha256=digest, keep="twins/7-0.bin")
    site.until_job(site.job("copies of twins/7-0.bin", "scan"))
    assert (folder / "7-0.bin").samefile(folder / "7-1.bin")
    assert not list(folder.glob(".*"))


# --- backends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "state", "whole"),
    [
        ("llama-cpp", "starting", False),
        ("llama-cpp", "loading", True),
        ("llama-cpp", "ready", False),
        # This one takes a minute to become ready.
        ("slow-load", "starting", True),
        ("slow-load", "loading", False),
    ],
)
def test_a_backend_survives_its_agent_or_its_loss_is_named(site: Site, backend: str, state: str, whole: bool) -> None:
    name = site.write_config(f"{backend}-{state}", backend=backend)
    end = "ready" if backend == "llama-cpp" else "loading"
    before = site.kill("agent", lambda: seen_in(site, name, state), wish=lambda: site.load(name), whole=whole)
    until(lambda: _has_settled(site, name, state), what=lambda: site.instance_whys(name))
    now = site.until_instance(name, end)
    if state == "ready":
        assert (now["pid"], now["address"]) == (before["pid"], before["address"])
    site.assert_one_tree(name)
    site.stop(name)
    site.until_instance(name, "stopped")
    site.assert_nothing_runs(name, now["address"])


@pytest.mark.parametrize(("backend", "whole"), [("llama-cpp", True), ("slow-load", False)])
def test_a_backend_whose_agent_is_killed_while_it_stops_is_stopped(site: Site, backend: str, whole: bool) -> None:
    name = site.write_config(f"{backend}-stopping", backend=backend)
    for _ in range(TRIES):
        site.load(name)
        loaded = site.until_instance(name, "ready" if backend == "llama-cpp" else "loading")
        with suppress(Missed):
            site.kill(
                "agent",
                lambda: seen_in(site, name, "stopping"),
                wish=lambda: site.stop(name),
                over=lambda: seen_in(site, name, "stopped"),
                whole=whole,
            )
        site.until_instance(name, "stopped")
        site.assert_nothing_runs(name, loaded["address"])
        if "the agent came back" in site.instance_whys(name):
            return
    raise AssertionError("the agent was never killed while it stopped the backend")


def seen_in(site: Site, name: str, state: str) -> dict[str, object] | None:
    now = site.instance(name)
    return now if now["state"] == state else None


def _has_settled(site: Site, name: str, state: str) -> bool:
    sentence = "found again after the agent came back" if state == "ready" else "in the middle of a start"
    return any(sentence in why for why in site.instance_whys(name))


def test_the_engine_stops_when_the_web_process_that_streams_its_answer_is_killed(site: Site) -> None:
    name = site.write_config("talker", context_size=65536)
    site.load(name)
    site.until_instance(name, "ready")
    answer = site.person.stream(name, "Tell me everything.")
    assert next(answer)
    assert site.cpu(name) > 0.2
    site.kill("web", lambda: True)
    until(lambda: site.cpu(name) < 0.05, 10, what="the engine goes on")
    assert site.instance(name)["state"] == "ready"
    site.stop(name)
    site.until_instance(name, "stopped")


# --- everything at once -----------------------------------------------------------------------------------------------


def test_a_loss_of_power_during_an_install_and_a_load_loses_nothing(site: Site, slow_model: Model) -> None:
    """Bytes that were not waited for may be anything after it, and every backend is gone."""
    name = site.write_config("powered")
    job = site.install(slow_model)
    site.load(name)
    site.until_instance(name, "ready")
    until(lambda: bytes_of(0, LARGE // 2)(site, slow_model), pause=0.001)
    site.lose_power()
    site.up()
    site.until_job(job)
    site.assert_installed(slow_model)
    site.until_instance(name, "ready")
    assert any("was gone when the agent came back" in why for why in site.instance_whys(name))
    site.assert_one_tree(name)
    site.stop(name)
    site.until_instance(name, "stopped")


def test_the_next_start_waits_for_what_a_killed_watcher_left(site: Site, slow_model: Model) -> None:
    job = site.install(slow_model)
    until(lambda: bytes_of(0, LARGE // 4)(site, slow_model), pause=0.001, what=lambda: site.whys(job))
    assert site.console.process
    site.console.process.kill()
    site.console.process.wait(5)
    site.up()
    site.until_job(job)
    site.assert_installed(slow_model)


def test_a_web_worker_that_lost_its_parent_does_not_keep_the_port(site: Site) -> None:
    """The watcher and the server's first process are killed at once, so that nobody is left to tell its worker."""
    assert site.console.process
    web = site.console.child("web")
    [worker] = web.children()
    for pid in (site.console.process.pid, web.pid):
        os.kill(pid, signal.SIGKILL)
    site.console.process.wait(5)
    worker.wait(5)
    site.up()
    assert "Overview" in site.person.get("/")


# --- two people at once -----------------------------------------------------------------------------------------------


def at_once(*acts: Callable[[], object]) -> None:
    barrier = threading.Barrier(len(acts))

    def do(act: Callable[[], object]) -> None:
        barrier.wait(5)
        act()

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()


def test_an_entry_that_four_people_install_at_once_is_installed_once(site: Site, model: Model) -> None:
    site.sizes[model.name] = model.sizes
    people = [site.person.again() for _ in range(4)]
    at_once(*(lambda person=person: person.install("own", model.name) for person in people))
    assert len(site.query("select id from gallery_job where subject=?", model.name)) == 1
    site.until_job(site.job(model.name, "install"))
    # Each of the four may have had a plan of its own, which reads the header of the model.
    assert site.sent(model) <= LARGE + SMALL + 4 * FIRST_PIECE


def test_a_model_cannot_be_deleted_while_it_is_installed_anew(site: Site, installed: Model) -> None:
    new = site.model(installed.name, version=1)
    site.refresh()
    job = site.install(new)
    answer = site.person.post(f"/gallery/delete/{new.name}/")
    assert answer.status_code == 409
    assert f"Another install job for {new.name} is under way." in answer.text
    site.until_job(job)
    site.assert_installed(new)


def test_one_person_cancels_while_another_retries(site: Site, slow_model: Model) -> None:
    job = site.install(slow_model)
    path = f"/jobs/{job}/"
    until(lambda: bytes_of(0, LARGE // 4)(site, slow_model) or site.state(job) == "done", pause=0.005)
    other = site.person.again()
    for _ in range(4):
        at_once(lambda: site.person.post(f"{path}cancel/"), lambda: other.post(f"{path}retry/"))
    site.person.post(f"{path}cancel/")
    until(lambda: site.state(job) in {"cancelled", "done"}, what=lambda: site.whys(job))
    if site.state(job) == "cancelled":
        assert not (site.models / f"{slow_model.name}.yaml").exists()
        site.person.post(f"{path}retry/")
    site.until_job(job)
    site.assert_installed(slow_model)


def test_one_person_loads_while_another_shuts_down(site: Site) -> None:
    name = site.write_config("contested")
    site.load(name)
    other = site.person.again()
    for _ in range(4):
        at_once(lambda: site.load(name), lambda: other.post(f"/models/{name}/stop/"))
    wanted = "ready" if site.instance(name)["desired"] == "running" else "stopped"
    site.until_instance(name, wanted)
    if wanted == "ready":
        site.assert_one_tree(name)
        site.stop(name)
        site.until_instance(name, "stopped")
    site.assert_nothing_runs(name)
