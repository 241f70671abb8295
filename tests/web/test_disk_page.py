"""The page about the disk: what takes how much, and what can be done about each of it."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings as site

from gallery.models import Job, KnownFile, Revision
from gallery.services import disk, duplicates, known_files, models_folder, queue, running, tidying
from gallery.services.errors import FolderBusy
from gallery.states import Kind, State
from models.models import Instance
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db

BIG = duplicates.SMALLEST


@pytest.fixture(autouse=True)
def looked_anew():
    disk.forget()
    queue.HUEY.flush()
    yield
    disk.forget()


@pytest.fixture
def folder(models_path):
    put(models_path, "phi.yaml", b"name: phi\nmmproj: shared.gguf\nparameters: {model: phi.gguf}\n")
    put(models_path, "other.yaml", b"name: other\nparameters: {model: shared.gguf}\n")
    put(models_path, "phi.gguf", b"p" * 3 * BIG)
    put(models_path, "shared.gguf", b"s" * BIG)
    return models_path


def put(root, name, content=b"x"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def text(client, tab="models", **query):
    response = client.get("/disk/", {"tab": tab, **query})
    assert response.status_code == 200
    return response.content.decode()


def act(client, path, **fields):
    answer = client.post(f"/disk/{path}", fields, follow=True)
    assert answer.redirect_chain[0][1] == 303
    return answer.content.decode()


def install_job(state, **fields):
    return Job.objects.create(kind=Kind.INSTALL, subject="phi", state=state, **fields)


# --- Looking --------------------------------------------------------------------------------------------------------


def test_models_are_listed_by_size_with_what_deleting_frees_and_who_shares_the_rest(as_viewer, folder):
    page = text(as_viewer)
    assert page.index(">phi<") < page.index(">other<")
    assert "64.0 KiB with other" in page
    assert "192.1 KiB" in page
    assert "Delete phi" not in page, "a viewer only looks"


def test_models_can_be_sorted_by_last_use_those_never_used_first(as_viewer, folder):
    Instance.objects.create(name="other", node=site.NODE)
    Instance.objects.create(name="phi", node=site.NODE, last_used_at="2026-01-01T00:00:00Z")
    page = text(as_viewer, sort="used")
    assert page.index(">other<") < page.index(">phi<")


def test_the_page_asks_the_database_as_often_for_many_models_as_for_one(
    as_administrator, folder, django_assert_max_num_queries
):
    for number in range(60):
        put(folder, f"m{number}.yaml", f"name: m{number}\nparameters: {{model: m{number}.gguf}}\n".encode())
        put(folder, f"m{number}.gguf")
        put(folder, f".ingest/{install_job(State.FAILED, dismissed=True).pk}/a.part")
        known_files.remember(f"m{number}.gguf", "1" * 64)
    for tab in ("models", "downloads", "unused", "duplicates", "revisions"):
        with django_assert_max_num_queries(9):
            text(as_administrator, tab)
    assert "1 to 50 of 62" in text(as_administrator)
    assert "m9" in text(as_administrator, page=2)


def test_several_looks_within_a_moment_walk_through_the_folder_once(as_viewer, folder):
    text(as_viewer)
    put(folder, "new-thing.gguf")
    assert "new-thing.gguf" not in text(as_viewer)
    disk.forget()
    assert "new-thing.gguf" in text(as_viewer)


def test_without_a_models_folder_the_page_is_there(as_viewer, settings, tmp_path):
    settings.MODELS_PATH = tmp_path / "nowhere"
    assert "No model is here yet" in text(as_viewer)


def test_nobody_sees_it_without_the_right_to_see_models(client, db, django_user_model, models_path):
    stranger = signed_in(django_user_model.objects.create_user("stranger"))
    assert stranger.get("/disk/").status_code == 403


@pytest.mark.parametrize("path", ["unused/delete/", "suspects/delete/", "downloads/discard/", "duplicates/scan/",
                                  "duplicates/link/", "revisions/1/forget/"])  # fmt: skip
def test_a_viewer_can_do_nothing_here(as_viewer, folder, path):
    assert as_viewer.post(f"/disk/{path}", {"name": "phi.gguf"}).status_code == 403
    assert as_viewer.get(f"/disk/{path}").status_code in {403, 405}


# --- Files that nobody uses ------------------------------------------------------------------------------------------


def test_an_unused_file_goes_with_its_empty_folder_and_says_what_became_free(as_installer, folder):
    put(folder, "old/deep/weights.bin.txt", b"x" * 2048)
    known_files.remember("old/deep/weights.bin.txt", "1" * 64)
    assert "old/deep/weights.bin.txt" in text(as_installer, "unused")
    page = act(as_installer, "unused/delete/", name="old/deep/weights.bin.txt")
    assert "2.0 KiB became free" in page
    assert not (folder / "old").exists()
    assert not KnownFile.objects.exists()


def test_a_loose_model_is_said_to_be_one_and_goes_by_its_own_page(as_installer, folder):
    put(folder, "loose.gguf")
    page = text(as_installer, "unused")
    assert "listed as a model of its own" in page
    assert "/gallery/delete/loose.gguf/" in page
    assert "Delete it as a model" in act(as_installer, "unused/delete/", name="loose.gguf")
    assert (folder / "loose.gguf").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("phi.gguf", "is used by phi"),
        ("phi.yaml", "is used by phi"),
        ("shared.gguf", "is used by other, phi"),
        ("broken.yaml", "is used by broken.yaml"),
        ("gone.bin", "is not there any more"),
        ("sub", "is not there any more"),
        ("../outside", "leads out"),
        ("out/file", "leads out"),
        ("/etc/hostname", "is not relative"),
        (".ingest/job/a.part", "kept for the console"),
        (".previous/phi/1/x", "kept for the console"),
        ("", "names no file"),
    ],
)
def test_nothing_else_is_removed_as_an_unused_file(as_installer, folder, tmp_path, name, words):
    outside = put(tmp_path, "outside")
    put(tmp_path, "elsewhere/file")
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    put(folder, "broken.yaml", b"a: [")
    for inner in ("sub/x.txt", ".ingest/job/a.part", ".previous/phi/1/x"):
        put(folder, inner)
    before = sorted(path for path in tmp_path.rglob("*"))
    assert words in act(as_installer, "unused/delete/", name=name)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert outside.exists()


def test_a_file_that_a_model_began_to_use_since_the_page_was_made_stays(as_installer, folder):
    put(folder, "stray.txt")
    text(as_installer, "unused")
    put(folder, "new.yaml", b"name: new\nparameters: {model: stray.txt}\n")
    assert "is used by new" in act(as_installer, "unused/delete/", name="stray.txt")
    assert (folder / "stray.txt").exists()


def test_while_files_are_put_in_place_by_another_process_a_page_waits_a_moment_and_then_says_so(
    as_installer, folder, monkeypatch
):
    monkeypatch.setattr(tidying, "WAIT", 0.1)
    put(folder, "stray.txt")
    lock = site.DATA / "run" / "models-folder.lock"
    with models_folder.changing(0.1):
        pass
    holder = (
        "import fcntl,sys;f=open(sys.argv[1]);fcntl.flock(f,fcntl.LOCK_EX);print('held',flush=True);sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderBusy), models_folder.changing(0.1):
            pass
        assert "being put in place just now" in act(as_installer, "unused/delete/", name="stray.txt")
        assert (folder / "stray.txt").exists()
        process.kill()
    assert "is deleted" in act(as_installer, "unused/delete/", name="stray.txt")


# --- Downloads -------------------------------------------------------------------------------------------------------


def test_partial_downloads_are_listed_with_their_jobs(as_installer, folder):
    job = install_job(State.FAILED)
    put(folder, f".ingest/{job.pk}/a.part", b"x" * 8192)
    put(folder, ".ingest/11111111-1111-1111-1111-111111111111/b.part")
    page = text(as_installer, "downloads")
    assert job.get_absolute_url() in page
    assert "8.0 KiB" in page
    assert "no job knows it" in page


def test_the_bytes_of_a_failed_job_can_be_discarded(as_installer, folder):
    job = install_job(State.FAILED, bytes_done=5)
    put(folder, f".ingest/{job.pk}/a.part")
    assert "is given up" in act(as_installer, "downloads/discard/", name=str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.dismissed, job.bytes_done) == (State.FAILED, True, 0)
    assert not (folder / ".ingest").exists()


def test_a_paused_job_is_called_off(as_installer, folder):
    job = install_job(State.PAUSED)
    put(folder, f".ingest/{job.pk}/a.part")
    act(as_installer, "downloads/discard/", name=str(job.pk))
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert not (folder / ".ingest" / str(job.pk)).exists()


def test_the_bytes_of_a_job_at_work_stay_until_its_worker_lets_go(as_installer, folder):
    job = install_job(State.DOWNLOADING)
    part = put(folder, f".ingest/{job.pk}/a.part")
    act(as_installer, "downloads/discard/", name=str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.wanted) == (State.DOWNLOADING, "cancel")
    assert part.exists()


def test_a_job_in_the_middle_of_its_commit_is_left_alone(as_installer, folder):
    job = install_job(State.COMMITTING)
    part = put(folder, f".ingest/{job.pk}/a.part")
    assert "too late" in act(as_installer, "downloads/discard/", name=str(job.pk))
    assert part.exists()


@pytest.mark.parametrize("name", ["suspect", "..", "", "x/../..", "given-up"])
def test_what_is_no_download_is_not_discarded(as_installer, folder, name):
    put(folder, ".ingest/suspect/abc-x")
    assert "not there any more" in act(as_installer, "downloads/discard/", name=name)
    assert (folder / ".ingest/suspect/abc-x").exists()


def test_a_suspect_says_what_was_expected_and_what_came_and_can_be_deleted(as_installer, folder):
    note = {"filename": "w.gguf", "uri": "https://x.test/w.gguf", "expected": "e" * 64, "got": "f" * 64}
    put(folder, ".ingest/suspect/ffff-w.gguf", b"x" * 1024)
    put(folder, ".ingest/suspect/ffff-w.gguf.json", json.dumps(note).encode())
    page = text(as_installer, "downloads")
    assert "1 suspect<" in page
    for words in ("e" * 64, "f" * 64, "https://x.test/w.gguf"):
        assert words in page
    assert "1.0 KiB became free" in act(as_installer, "suspects/delete/", name=".ingest/suspect/ffff-w.gguf")
    assert list((folder / ".ingest/suspect").iterdir()) == []


@pytest.mark.parametrize("name", ["phi.gguf", ".ingest/suspect/../../phi.gguf", ".ingest/job/a.part", ""])
def test_only_suspects_are_removed_as_suspects(as_installer, folder, name):
    put(folder, ".ingest/job/a.part")
    assert "not there any more" in act(as_installer, "suspects/delete/", name=name)
    assert (folder / "phi.gguf").exists()
    assert (folder / ".ingest/job/a.part").exists()


# --- Earlier revisions -----------------------------------------------------------------------------------------------


def test_an_earlier_revision_can_be_given_up(as_installer, folder):
    put(folder, ".previous/phi/1/phi.gguf")
    kept = Revision.objects.create(
        name="phi", node=site.NODE, is_current=False, kept_in=".previous/phi/1", kept_bytes=1
    )
    assert "phi, revision 1" in text(as_installer, "revisions")
    assert "no longer kept" in act(as_installer, f"revisions/{kept.pk}/forget/")
    assert not (folder / ".previous").exists()


# --- Duplicates ------------------------------------------------------------------------------------------------------


def scan(by=None):
    job = duplicates.request_scan(by)
    running.run(job.pk, duplicates.run_scan)
    job.refresh_from_db()
    return job


def test_the_same_bytes_under_two_names_are_found_and_nothing_is_read_twice(as_installer, folder):
    put(folder, "again/phi-copy.gguf", b"p" * 3 * BIG)
    put(folder, "tiny.bin", b"p")
    assert "Find duplicates" in text(as_installer, "duplicates")
    act(as_installer, "duplicates/scan/")
    job = Job.objects.get(kind=Kind.SCAN)
    running.run(job.pk, duplicates.run_scan)
    job.refresh_from_db()
    assert (job.state, job.bytes_total, job.bytes_done) == (State.DONE, 7 * BIG, 7 * BIG)
    assert job.message.startswith("3 files read; 1 are there more than once")
    page = text(as_installer, "duplicates")
    assert "again/phi-copy.gguf" in page
    assert "192.0 KiB too much" in page
    assert scan().message.startswith("0 files read")


def test_linking_keeps_every_name_and_frees_the_bytes(as_installer, folder):
    put(folder, "again/phi-copy.gguf", b"p" * 3 * BIG)
    put(folder, "again.yaml", b"name: again\nparameters: {model: again/phi-copy.gguf}\n")
    scan()
    [group] = duplicates.groups(disk.look())
    answer = as_installer.post("/disk/duplicates/link/", {"sha256": group.sha256, "keep": "phi.gguf"})
    job = Job.objects.get(kind=Kind.SCAN, state=State.QUEUED)
    assert (answer.status_code, answer.url) == (303, job.get_absolute_url())
    running.run(job.pk, duplicates.run_scan)
    job.refresh_from_db()
    assert job.state == State.DONE, job.error
    assert "192.0 KiB became free" in job.message
    assert (folder / "phi.gguf").samefile(folder / "again/phi-copy.gguf")
    assert sorted(path.name for path in (folder / "again").iterdir()) == ["phi-copy.gguf"]
    assert duplicates.groups(disk.look()) == []
    assert scan().message.startswith("0 files read")


def test_a_file_that_only_looks_equal_is_not_replaced(folder):
    copy = put(folder, "copy.gguf", b"p" * 3 * BIG)
    scan()
    [group] = duplicates.groups(disk.look())
    status = copy.stat()
    copy.write_bytes(b"q" * 3 * BIG)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    job = duplicates.request_link(group, "phi.gguf", None)
    running.run(job.pk, duplicates.run_scan)
    job.refresh_from_db()
    assert (job.state, job.cause) == (State.FAILED, "cannot link")
    assert copy.read_bytes() == b"q" * 3 * BIG
    assert (folder / "phi.gguf").read_bytes() == b"p" * 3 * BIG


def test_a_second_try_of_linking_finishes_what_a_first_one_left(folder):
    for name in ("one.gguf", "two.gguf"):
        put(folder, name, b"p" * 3 * BIG)
    scan()
    [group] = duplicates.groups(disk.look())
    job = duplicates.request_link(group, "phi.gguf", None)
    # The first try ended between two links, and in the middle of a third.
    (folder / "one.gguf").unlink()
    os.link(folder / "phi.gguf", folder / "one.gguf")
    os.link(folder / "phi.gguf", folder / f".link-{job.pk.hex}")
    running.run(job.pk, duplicates.run_scan)
    job.refresh_from_db()
    assert job.state == State.DONE, job.error
    assert (folder / "phi.gguf").samefile(folder / "two.gguf")
    assert not list(folder.glob(".link-*"))


def test_a_scan_that_is_called_off_keeps_what_it_knows(folder, monkeypatch):
    job = duplicates.request_scan(None)
    monkeypatch.setattr("gallery.services.intent.LOOK", 0)
    remember = known_files.remember

    def remember_and_call_off(*args):
        remember(*args)
        Job.objects.filter(pk=job.pk).update(wanted="cancel")

    monkeypatch.setattr(known_files, "remember", remember_and_call_off)
    running.run(job.pk, duplicates.run_scan)
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert KnownFile.objects.count() == 1


def test_an_unused_copy_can_be_deleted_and_a_used_one_cannot(as_installer, folder):
    put(folder, "spare/phi.gguf", b"p" * 3 * BIG)
    scan()
    page = text(as_installer, "duplicates")
    assert 'value="spare/phi.gguf"' in page
    assert page.count("/disk/unused/delete/") == 1
    act(as_installer, "unused/delete/", name="spare/phi.gguf")
    assert duplicates.groups(disk.look()) == []
