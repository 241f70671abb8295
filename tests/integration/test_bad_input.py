"""Bad input on the real console: it is named on the page and in the log, and nothing else suffers."""

import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.downloads.partial import bytes_here
from tests.fakes import bad_input, http_server
from tests.fakes.bad_input import BAD_INDEXES, MIB
from tests.fakes.bad_world import BACKENDS, PARTS, World, mount, until, write_models
from tests.fakes.console import Console

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("bad") / "data"
    models = data / "models"
    models.mkdir(parents=True)
    small_disk = mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(models))
    try:
        with http_server.running() as server:
            write_models(models)
            bad_input.write_backends(data / "backends")
            settings = {
                "LOCALAI_GALLERIES": bad_input.galleries(server),
                "LOCALAI_ADMIN_TRUSTED_HOSTS": server.host,
                "LOCALAI_ADMIN_BACKEND_START_SECONDS": "3",
            }
            with Console(data, **settings) as console:
                world = World(console, server, small_disk)
                world.visitor.post("/gallery/refresh/")
                until(lambda: "fine" in world.visitor.get("/gallery/?q=fine"))
                yield world
                world.visitor.close()
    finally:
        if small_disk:
            subprocess.run(["umount", "--lazy", str(models)], check=True)


@pytest.fixture(scope="module")
def loads(world: World) -> World:
    """Every bad backend was asked for, all at once."""
    for backend in BACKENDS:
        world.visitor.post(f"/models/on-{backend}/load/")
    return world


@pytest.fixture
def small_disk(world: World) -> World:
    if not world.small_disk:
        pytest.skip("needs the right to mount a small tmpfs: run it as root")
    return world


@pytest.fixture(autouse=True)
def nothing_else_suffers(world: World) -> Iterator[None]:
    yield
    assert "fine" in world.visitor.get("/gallery/?q=fine")
    assert {name: world.console.child(name).pid for name in PARTS} == world.pids
    for page in ("/", "/models/", "/gallery/", "/jobs/", "/jobs/?tab=attention", "/monitor/"):
        world.visitor.get(page)
    assert "Traceback" not in world.console.log


# --- Galleries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gallery", "sentence"), [(name, words) for name, (_, words) in BAD_INDEXES.items()])
def test_an_index_that_is_none_is_named_on_the_gallery_page_in_its_job_and_in_the_log(
    world: World, gallery: str, sentence: str
) -> None:
    world.fails(world.refresh_job(gallery), sentence, "Check the address of the gallery")
    page = world.visitor.get("/gallery/")
    assert f"{gallery} could not be read." in page
    assert sentence in page
    assert "Check the address of the gallery" in page


def test_a_gallery_whose_host_is_not_there_is_named_and_tried_again(world: World) -> None:
    sentence = "The name gallery.invalid was not found"
    until(lambda: "lost could not be read." in world.visitor.get("/gallery/"))
    page = world.visitor.get("/gallery/")
    assert "lost could not be read." in page
    assert sentence in page
    assert "Check the network" in page
    world.console.wait_for_log("WARNING", "lost", sentence, "Check the network")
    page = world.visitor.get(world.refresh_job("lost"))
    assert sentence in page
    assert "of 5" in page or "Failed" in page


def test_entries_that_are_left_out_are_named_in_the_log(world: World) -> None:
    world.console.wait_for_log("WARNING", "own, left out: Entry 17: It has no name")
    world.console.wait_for_log("WARNING", "own, left out: Entry 18: It is a text instead of a map")


@pytest.mark.parametrize(
    "sentence",
    [
        "{'name': 'without-url'}, which has no url; add one.",
        "two galleries called own; the first one is used. Rename or remove the second one.",
        "a gallery called 'a/b', which is no name for one; use",
        "the address 'http://[crooked' of crooked, which is none; correct it.",
        "'no map at all'; each gallery must be a map with name and url.",
    ],
)
def test_a_gallery_that_is_badly_set_is_named_on_the_gallery_page_and_in_the_log(world: World, sentence: str) -> None:
    assert sentence in world.visitor.get("/gallery/")
    world.console.wait_for_log("WARNING", sentence)


# --- Entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("empty-handed", "The entry empty-handed installs nothing"),
        ("climbs", "The file name '../climbed.gguf' leads out of its folder by .."),
        ("absolute", "The file name '/tmp/absolute.gguf' is not relative to its folder"),
        ("nul", r"The file name 'nul\x00.gguf' has a control character in it"),
        ("bell", r"The file name 'bell\x07.gguf' has a control character in it"),
        ("leads-out", "parameters.model is '../../../etc/passwd'; it must be a file in the models folder"),
    ],
)
def test_an_entry_that_cannot_be_installed_is_refused_before_anything_is_fetched(
    world: World, name: str, sentence: str
) -> None:
    before = world.visible() - {".ingest"}
    page = world.fails(world.visitor.install("own", name), sentence)
    assert "choose another entry" in page or "those who keep the gallery" in page
    assert world.visible() - {".ingest"} == before
    assert not world.server.asked(f"/{name}.gguf")
    assert not Path("/tmp/absolute.gguf").exists()


def test_a_file_with_another_digest_is_put_aside_and_nothing_of_it_is_seen(world: World) -> None:
    page = world.fails(
        world.visitor.install("own", "wrong-digest"), "wrong-digest.gguf is not what the gallery says", "0" * 64
    )
    assert "Refresh the gallery and install again" in page
    [suspect] = (world.models / ".ingest" / "suspect").glob("*[!n]")
    assert suspect.read_bytes() == b"other bytes"
    assert not {name for name in world.visible() if "wrong-digest" in name}


def test_a_good_entry_installs_and_loads_beside_all_that(world: World) -> None:
    world.ends(world.visitor.install("own", "fine"), "done")
    world.visitor.post("/models/fine/load/")
    assert "Ready" in world.standing("fine", "ready")


# --- Models and backends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("broken.yaml", "broken.yaml is not readable YAML: Line 3"),
        ("twice-b.yaml", "twice is also the name in twice-a.yaml; rename one of the two"),
        ("out.yaml", "parameters.model is '../../etc/passwd'; it must be a file in the models folder"),
    ],
)
def test_a_configuration_that_is_no_good_is_named_and_the_others_are_used(
    world: World, file: str, sentence: str
) -> None:
    page = world.visitor.get("/models/")
    assert file in page
    assert sentence in page
    assert "on-exits-at-once" in page
    world.console.wait_for_log("WARNING", file, sentence)


@pytest.mark.parametrize(
    ("backend", "states", "sentence"),
    [
        ("exits-at-once", ("backoff", "failed"), "cannot find libmagic.so"),
        ("never-healthy", ("backoff", "failed"), "did not answer Health within 3 s"),
        ("refuses-load", ("backoff", "failed"), "The backend could not load the model: unknown model architecture."),
        ("nowhere", ("failed",), "There is no backend 'nowhere' with a run.sh in"),
    ],
)
def test_a_backend_that_does_not_come_up_says_why(
    loads: World, backend: str, states: tuple[str, ...], sentence: str
) -> None:
    model = f"on-{backend}"
    loads.console.wait_for_log("WARNING", model, sentence)
    until(lambda: sentence in loads.standing(model, *states))
    assert sentence in loads.visitor.get("/monitor/")
    assert sentence in loads.visitor.get(f"/monitor/{model}/")


def test_a_backend_that_refuses_is_not_started_again_for_ever(loads: World) -> None:
    page = loads.standing("on-refuses-load", "failed")
    assert "Gave up after 3 failures in a row; read the log, then load it again." in page
    loads.console.wait_for_log("WARNING", "on-refuses-load", "Gave up after 3 failures")


def test_a_port_that_is_taken_is_named_and_another_one_is_used(loads: World) -> None:
    loads.console.wait_for_log("WARNING", "on-takes-its-port", "Last line of its log", "127.0.0.1:")
    assert "Ready" in loads.standing("on-takes-its-port", "ready")


def test_a_model_file_that_is_no_gguf_is_refused_once_and_not_tried_again(world: World) -> None:
    world.ends(world.visitor.install("own", "no-gguf"), "done")
    world.visitor.post("/models/no-gguf/load/")
    sentence = "The model file no-gguf.gguf is not a GGUF file; install the model again."
    assert sentence in world.standing("no-gguf", "failed")
    world.console.wait_for_log("WARNING", "no-gguf", sentence)
    starts = "select count(*) from models_instanceevent e join models_instance i on e.instance_id = i.id "
    assert world.query(starts + "where i.name = 'no-gguf' and e.to_state = 'starting'") == [(1,)]


# --- Disk -------------------------------------------------------------------------------------------------------------


def test_a_full_disk_says_how_much_is_missing_before_anything_is_fetched(small_disk: World) -> None:
    filler = small_disk.models / "filler"
    fill(filler, leave=2 * MIB)
    job = small_disk.visitor.install("own", "large")
    page = small_disk.ends(job, "failed")
    assert "It does not fit on the disk: 2.0 MiB missing" in page
    # Only its header was read.
    assert {asked.headers.get("range") for asked in small_disk.server.asked("/large.gguf")} <= {"bytes=0-65535"}
    filler.unlink()
    small_disk.ends(small_disk.visitor.install("own", "large"), "done")
    assert (small_disk.models / "large.gguf").stat().st_size == 4 * MIB
    remove(small_disk, "large")


def test_a_disk_that_fills_up_under_a_file_of_unknown_size_keeps_the_bytes(small_disk: World) -> None:
    filler = small_disk.models / "filler"
    fill(filler, leave=2 * MIB)
    job = small_disk.visitor.install("own", "unknown-size")
    small_disk.fails(job, f"The disk of {small_disk.models} is full: more space is needed")
    assert sum(bytes_here(part) for part in small_disk.models.glob(".ingest/*/*.part")) > MIB
    filler.unlink()
    small_disk.visitor.post(f"{job}retry/")
    small_disk.ends(job, "done")
    assert (small_disk.models / "unknown-size.gguf").read_bytes() == bytes(4 * MIB)
    remove(small_disk, "unknown-size")


def fill(filler: Path, leave: int) -> None:
    """Take all the space of the disk but so many bytes."""
    stats = os.statvfs(filler.parent)
    filler.write_bytes(bytes(stats.f_bavail * stats.f_frsize - leave))


def remove(world: World, name: str) -> None:
    """Make room for the next test, as a person does."""
    answer = world.visitor.post(f"/gallery/delete/{name}/")
    world.ends("/" + answer.url.split("/", 3)[3], "done")


def test_a_models_folder_that_cannot_be_written_to_is_named_and_harms_nothing_that_runs(small_disk: World) -> None:
    sentence = f"The models folder {small_disk.models} cannot be written to: Read-only file system."
    assert mount("-o", "remount,ro", str(small_disk.models))
    try:
        job = small_disk.visitor.install("own", "small")
        page = small_disk.fails(job, sentence)
        assert "Check the permissions" in page
        answer = small_disk.visitor.post("/gallery/delete/spare/")
        small_disk.fails("/" + answer.url.split("/", 3)[3], "spare.yaml", "Read-only file system")
        assert "spare.yaml" in small_disk.visible()
    finally:
        assert mount("-o", "remount,rw", str(small_disk.models))
    small_disk.visitor.post(f"{job}retry/")
    small_disk.ends(job, "done")


# --- Database and queue -----------------------------------------------------------------------------------------------


def test_a_database_that_is_locked_for_a_while_loses_nothing(world: World) -> None:
    slow = world.visitor.install("own", "slow")
    until(lambda: world.job_state(slow) == "downloading")
    lock = sqlite3.connect(world.console.data / "db.sqlite3", timeout=30, isolation_level=None)
    asked: list[str] = []
    asking = threading.Thread(target=lambda: asked.append(world.visitor.install("own", "meanwhile")))
    lock.execute("begin exclusive")
    try:
        asking.start()
        time.sleep(10)
    finally:
        lock.rollback()
        lock.close()
    asking.join(30)
    world.ends(slow, "done")
    world.ends(asked[0], "done")


def test_a_queue_that_is_deleted_while_jobs_run_is_made_anew_and_the_jobs_still_end(world: World) -> None:
    waits = world.visitor.install("own", "breaks-off")
    until(lambda: world.job_state(waits) == "retrying")
    for file in world.console.data.glob("queue.sqlite3*"):
        file.unlink()
    # Asked for anew: at once. The one whose message is lost: found by the recovery, which looks every minute.
    world.ends(world.visitor.install("own", "after-the-queue"), "done", seconds=10)
    world.ends(waits, "done", seconds=90)
