"""Installing: what is fetched, what is written, and that nothing half-done is ever seen."""

import hashlib

import pytest
import yaml

from gallery.catalog.errors import CatalogError
from gallery.models import Entry, Gallery, Job
from gallery.services import installs, jobs, leftovers, queue, running
from gallery.services.errors import BadEntry, Conflict, NameTaken
from gallery.states import State

pytestmark = pytest.mark.django_db(transaction=True)

WEIGHTS = bytes(range(256)) * 2000
PROJECTOR = b"mmproj" * 1000


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def gallery():
    return Gallery.objects.create(name="localai", url="https://x.test/index.yaml")


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def entry(gallery, server, models_path):
    """Two files, a recipe with a template, and overrides."""
    recipe = {
        "name": "base",
        "config_file": "backend: llama-cpp\ncontext_size: 1024\nparameters:\n  temperature: 0.5\n",
        "prompt_templates": [{"name": "phi-chat", "content": "{{.Input}}"}],
    }
    data = {
        "name": "phi",
        "url": server.gives("/recipe.yaml", yaml.safe_dump(recipe).encode()),
        "license": "mit",
        "overrides": {"context_size": 4096, "parameters": {"model": "phi.gguf"}, "mmproj": "phi-mmproj.gguf"},
        "files": [
            {"filename": "phi.gguf", "sha256": sha(WEIGHTS), "uri": server.gives("/phi.gguf", WEIGHTS)},
            {"filename": "phi-mmproj.gguf", "sha256": sha(PROJECTOR), "uri": server.gives("/mmproj", PROJECTOR)},
        ],
    }
    return Entry.objects.create(gallery=gallery, name="phi", data=data)


def install(job):
    delay = running.run(job.pk, installs.run_install)
    job.refresh_from_db()
    return delay


def installed(entry, name="", **how):
    job = installs.request_install(entry, name, None, **how)
    install(job)
    return job


def seen_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def change(entry, **data):
    entry.data = {**entry.data, **data}
    entry.save()


def test_a_model_is_installed_with_all_that_belongs_to_it(entry, models_path):
    job = installed(entry)
    assert (job.state, job.error) == (State.DONE, "")
    assert seen_in(models_path) == ["._gallery_phi.yaml", "phi-chat.tmpl", "phi-mmproj.gguf", "phi.gguf", "phi.yaml"]
    assert (models_path / "phi.gguf").read_bytes() == WEIGHTS
    config = yaml.safe_load((models_path / "phi.yaml").read_text())
    assert config["name"] == "phi"
    assert config["context_size"] == 4096
    assert config["parameters"] == {"temperature": 0.5, "model": "phi.gguf"}
    record = yaml.safe_load((models_path / "._gallery_phi.yaml").read_text())
    assert [file["filename"] for file in record["files"]] == ["phi.gguf", "phi-mmproj.gguf"]


def test_the_job_shows_every_file_and_all_bytes(entry):
    job = installed(entry)
    assert [(file.filename, file.done, file.size, file.status) for file in job.files.all()] == [
        ("phi.gguf", len(WEIGHTS), len(WEIGHTS), "verified"),
        ("phi-mmproj.gguf", len(PROJECTOR), len(PROJECTOR), "verified"),
    ]
    assert job.bytes_done == job.bytes_total == len(WEIGHTS) + len(PROJECTOR)
    states = [event.to_state for event in job.events.all()]
    assert states == ["queued", "resolving", "downloading", "verifying", "committing", "done"]


def test_a_chosen_name_and_overrides_of_the_request_are_laid_over_the_entry(entry, models_path):
    installed(entry, "mine", overrides={"context_size": 77})
    config = yaml.safe_load((models_path / "mine.yaml").read_text())
    assert (config["name"], config["context_size"]) == ("mine", 77)
    assert not (models_path / "phi.yaml").exists()


def test_what_is_described_in_the_request_needs_no_gallery(server, models_path):
    data = {
        "config_file": {"backend": "llama-cpp", "parameters": {"model": "own.gguf"}},
        "files": [{"filename": "own.gguf", "uri": server.gives("/own", b"own bytes")}],
    }
    job = installs.request_apply(data, "own", None)
    install(job)
    assert job.state == State.DONE
    assert yaml.safe_load((models_path / "own.yaml").read_text())["backend"] == "llama-cpp"


def test_what_is_described_without_a_name_is_refused():
    with pytest.raises(CatalogError, match="name"):
        installs.request_apply({"files": []}, "", None)


def test_installing_again_replaces_what_the_first_brought(entry, models_path, server):
    installed(entry)
    change(entry, overrides={"context_size": 1, "parameters": {"model": "phi.gguf"}})
    job = installed(entry)
    assert job.state == State.DONE
    assert [file.status for file in job.files.all()] == ["already here", "already here"]
    assert yaml.safe_load((models_path / "phi.yaml").read_text())["context_size"] == 1


def test_a_new_version_of_a_file_replaces_the_old_one(entry, models_path, server):
    installed(entry)
    new = {"filename": "phi.gguf", "sha256": sha(b"new"), "uri": server.gives("/new", b"new")}
    change(entry, files=[new])
    job = installed(entry)
    assert (job.state, job.error) == (State.DONE, "")
    assert (models_path / "phi.gguf").read_bytes() == b"new"


def test_a_configuration_of_somebody_else_is_not_replaced(entry, models_path):
    (models_path / "phi.yaml").write_text("name: phi\nbackend: mine\n")
    with pytest.raises(NameTaken, match="did not come from a gallery"):
        installs.request_install(entry, "", None)
    assert not Job.objects.exists()


def test_a_name_that_another_file_of_the_folder_uses_is_taken(entry, models_path):
    (models_path / "other.yaml").write_text("name: phi\nbackend: mine\n")
    with pytest.raises(NameTaken, match=r"other\.yaml"):
        installs.request_install(entry, "", None)


def test_a_configuration_that_came_while_the_job_waited_is_not_replaced(entry, models_path):
    job = installs.request_install(entry, "", None)
    (models_path / "phi.yaml").write_text("name: phi\nbackend: mine\n")
    install(job)
    assert (job.state, job.cause) == (State.FAILED, "name taken")
    assert seen_in(models_path) == ["phi.yaml"]


@pytest.mark.parametrize("name", ["../phi", "/etc/phi", "a\nb", "x" * 300, ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused_before_there_is_a_job(entry, name):
    with pytest.raises(BadEntry):
        installs.request_install(entry, name, None)


def test_a_configuration_that_is_no_good_is_refused_before_anything_is_fetched(entry, server):
    change(entry, overrides={"backend": "../../bin/sh"})
    job = installed(entry)
    assert (job.state, job.cause) == (State.FAILED, "bad entry")
    assert "backend" in job.error
    assert not server.asked("/phi.gguf")


def test_a_file_that_is_not_what_the_gallery_says_leaves_nothing_behind(entry, models_path, server):
    server.gives("/phi.gguf", b"something else")
    job = installed(entry)
    assert (job.state, job.cause) == (State.FAILED, "digest_mismatch")
    assert [path.name for path in models_path.iterdir()] == [".ingest"]


def test_a_dropped_line_is_taken_up_again_from_the_bytes_that_are_here(entry, models_path, server):
    server.gives("/phi.gguf", WEIGHTS, cuts=[200_000])
    job = installs.request_install(entry, "", None)
    install(job)
    assert (job.state, job.attempt) == (State.DONE, 1)
    ranges = [request.headers.get("range", "") for request in server.asked("/phi.gguf")]
    assert any(asked.startswith("bytes=200000-") for asked in ranges)
    assert (models_path / "phi.gguf").read_bytes() == WEIGHTS


def test_cancelling_removes_the_bytes_and_leaves_the_folder_as_it_was(entry, models_path, server):
    server.gives("/phi.gguf", WEIGHTS, stall=300_000)
    job = installs.request_install(entry, "", None)
    called_off = []

    def work(run):
        show = run.progress

        def progress(done, *args, **kwargs):
            show(done, *args, **kwargs)
            if done and not called_off:
                called_off.append(jobs.request_cancel(Job.objects.get(pk=job.pk), None))

        run.progress = progress
        return installs.run_install(run)

    running.run(job.pk, work)
    job.refresh_from_db()
    assert called_off == [True]
    assert job.state == State.CANCELLED
    assert list(models_path.iterdir()) == []


def test_a_commit_that_a_killed_worker_left_done_is_only_cleared_up(entry, models_path):
    job = installs.request_install(entry, "", None)

    class Killed(BaseException):
        pass

    def work(run):
        installs.run_install(run)
        raise Killed

    with pytest.raises(Killed):
        running.run(job.pk, work)
    job.refresh_from_db()
    assert job.state == State.COMMITTING
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED)
    job.refresh_from_db()
    assert leftovers.in_commit(job)
    assert not jobs.request_cancel(job, None)
    install(job)
    assert job.state == State.DONE
    assert "phi.yaml" in seen_in(models_path)
    assert not (models_path / ".ingest").exists()


def test_an_install_that_was_put_in_place_needs_no_server_to_be_called_done(entry, models_path, server):
    """Its worker died before it could say so, and now nothing can be fetched."""
    job = installs.request_install(entry, "", None)

    class Killed(BaseException):
        pass

    def work(run):
        installs.run_install(run)
        raise Killed

    with pytest.raises(Killed):
        running.run(job.pk, work)
    server.pages.clear()
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED)
    install(job)
    assert (job.state, job.error) == (State.DONE, "")


def test_a_file_that_another_model_began_to_use_meanwhile_is_not_replaced(entry, models_path, server):
    installed(entry)
    new = {"filename": "phi.gguf", "sha256": sha(b"new"), "uri": server.gives("/new.gguf", b"new")}
    change(entry, files=[new, *entry.data["files"][1:]])
    job = installs.request_install(entry, "", None)

    def work(run):
        move = run.move

        def moving(to, *args, **kwargs):
            if to == State.COMMITTING:
                (models_path / "other.yaml").write_text("name: other\nparameters: {model: phi.gguf}\n")
            move(to, *args, **kwargs)

        run.move = moving
        return installs.run_install(run)

    running.run(job.pk, work)
    job.refresh_from_db()
    assert (job.state, job.cause) == (State.FAILED, "name_taken")
    assert (models_path / "phi.gguf").read_bytes() == WEIGHTS


def test_an_entry_that_the_gallery_no_longer_has_is_named(entry, models_path):
    job = installs.request_install(entry, "", None)
    entry.delete()
    install(job)
    assert (job.state, job.cause) == (State.FAILED, "entry gone")
    assert "localai has no entry phi" in job.error


def test_two_people_who_install_different_things_under_one_name_are_told(entry, gallery, models_path):
    other = Entry.objects.create(gallery=gallery, name="qwen", data={"name": "qwen", "overrides": {"backend": "x"}})
    installs.request_install(entry, "mine", None)
    with pytest.raises(Conflict):
        installs.request_install(other, "mine", None)


def test_a_file_that_another_install_brought_meanwhile_is_used(entry, models_path):
    job = installs.request_install(entry, "", None)

    def work(run):
        move = run.move

        def moving(new, *args, **kwargs):
            if new == State.COMMITTING:
                (models_path / "phi-mmproj.gguf").write_bytes(PROJECTOR)
            move(new, *args, **kwargs)

        run.move = moving
        return installs.run_install(run)

    running.run(job.pk, work)
    job.refresh_from_db()
    assert (job.state, job.error) == (State.DONE, "")


def test_another_file_that_came_meanwhile_is_not_replaced(entry, models_path):
    job = installs.request_install(entry, "", None)

    def work(run):
        (models_path / "phi.gguf").write_bytes(b"somebody's own")
        return installs.run_install(run)

    running.run(job.pk, work)
    job.refresh_from_db()
    assert (job.state, job.cause) == (State.FAILED, "name_taken")
    assert (models_path / "phi.gguf").read_bytes() == b"somebody's own"
