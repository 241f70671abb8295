"""What lies in the models folder may have been put there by others: nothing of it leads out, or holds a page up."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from gallery.downloads.errors import DownloadError
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.models import Job, Revision
from gallery.services import exchange, kept, leftovers, models_folder
from gallery.services.errors import JobError
from gallery.states import Kind, State

pytestmark = pytest.mark.django_db

SECRET = b"what nobody may have"


@pytest.fixture
def outside(models_path: Path) -> Path:
    """A folder beside the models folder, with a file in it that is nobody's business."""
    folder = models_path.parent / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    return folder


def job(**fields: Any) -> Job:
    return Job.objects.create(**{"kind": Kind.INSTALL, "subject": "m", "state": State.FAILED, "request": {}, **fields})


def doctored(models: Path, job: Job, **state: Any) -> Path:
    """The folder of a job, with a state that no worker wrote."""
    folder = models / ".ingest" / str(job.pk)
    folder.mkdir(parents=True)
    whole = {"boot": "", "files": {}, "moves": [], "made": [], "keeps": [], "committed": False, **state}
    (folder / "state.json").write_text(json.dumps(whole))
    return folder


def untouched(outside: Path) -> bool:
    return [path.name for path in outside.iterdir()] == ["secret"] and (outside / "secret").read_bytes() == SECRET


# --- Doctored states of jobs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["../../../outside/secret", "{outside}/secret", ".previous/../../outside/secret"])
def test_a_doctored_move_takes_nothing_from_outside(models_path: Path, outside: Path, way: str) -> None:
    name = way.format(outside=outside)
    (models_path / "m.yaml").write_text("name: m\n")
    for move in (
        {"source": "0.text", "target": "m.yaml", "backup": name},
        {"source": name, "target": "new.yaml", "backup": "0.before"},
    ):
        failed = job(subject=uuid.uuid4().hex)
        doctored(models_path, failed, moves=[move])
        leftovers.settle(failed)
        assert untouched(outside)
        assert not any(path.read_bytes() == SECRET for path in models_path.iterdir() if path.is_file())


@pytest.mark.parametrize("place", ["../../../outside/planted", "{outside}/planted"])
def test_a_doctored_move_puts_nothing_outside(models_path: Path, outside: Path, place: str) -> None:
    (models_path / "bait").write_text("planted")
    failed = job()
    folder = doctored(
        models_path, failed, moves=[{"source": place.format(outside=outside), "target": "bait", "backup": "0.before"}]
    )
    (folder / "0.before").write_text("x")
    leftovers.settle(failed)
    assert untouched(outside)


@pytest.mark.parametrize("part", ["../../../outside/secret", "{outside}/secret"])
def test_a_doctored_part_is_nobodys_bytes(models_path: Path, outside: Path, part: str) -> None:
    failed = job()
    file = {"part": part.format(outside=outside), "uri": "https://x.example/f", "sha256": "", "verified": "0" * 64}
    doctored(models_path, failed, files={"f.gguf": {**file, "total": len(SECRET), "synced": [], "here": []}})
    spec = FileSpec("f.gguf", "", "https://x.example/f")
    ingest = Ingest(models_path, str(failed.pk))
    assert not ingest.is_verified(spec)
    with pytest.raises(DownloadError):
        ingest.commit([spec], [])
    ingest.open(spec).close()
    assert untouched(outside)


@pytest.mark.parametrize("made", [["../outside/new"], ["/tmp/x"]])
def test_a_doctored_list_of_folders_is_not_followed(models_path: Path, outside: Path, made: list[str]) -> None:
    failed = job()
    doctored(models_path, failed, moves=[{"source": "0.text", "target": "x", "backup": "0.before"}], made=made)
    leftovers.settle(failed)
    assert untouched(outside)


@pytest.mark.parametrize("linked", [".ingest", ".ingest/job"])
def test_a_link_in_place_of_a_jobs_folder_is_not_followed(models_path: Path, outside: Path, linked: str) -> None:
    failed = job()
    (outside / str(failed.pk)).mkdir()
    if linked == ".ingest":
        (models_path / ".ingest").symlink_to(outside)
    else:
        (models_path / ".ingest").mkdir()
        (models_path / ".ingest" / str(failed.pk)).symlink_to(outside)
    with pytest.raises(DownloadError, match="link"):
        Ingest(models_path, str(failed.pk))
    leftovers.discard(failed)
    assert (outside / "secret").read_bytes() == SECRET
    assert (outside / str(failed.pk)).is_dir()


def test_a_link_in_place_of_the_downloads_is_not_swept(models_path: Path, outside: Path) -> None:
    """Every old folder there would be one that no job knows."""
    for name in ("alice", "bob.d"):
        (outside / name).mkdir()
        os.utime(outside / name, (0, 0))
    (models_path / ".ingest").symlink_to(outside)
    assert leftovers.sweep(timezone.now()) == []
    assert sorted(path.name for path in outside.iterdir()) == ["alice", "bob.d", "secret"]


# --- Doctored revisions -----------------------------------------------------------------------------------------------


def note(**changes: Any) -> dict[str, Any]:
    after = {
        "gallery": "",
        "entry": "",
        "entry_digest": "",
        "configured": True,
        "record_digest": "",
        "recipe": {"config": {}, "files": [], "templates": [], "gallery_file": {}},
    }
    return {"name": "m", "before": None, "before_pk": None, "keep_in": "", "restored_in": "", "after": after, **changes}


@pytest.mark.parametrize(
    "kept_in", [".previous/../../outside", ".previous/m/../../../outside", "/{outside}", ".previous", ".previous/m",
                ".previous/other/1", "..", "m"]
)  # fmt: skip
@pytest.mark.parametrize("field", ["restored_in", "keep_in"])
def test_a_doctored_note_of_a_revision_removes_nothing(
    models_path: Path, outside: Path, field: str, kept_in: str
) -> None:
    other = models_path / ".previous/other/1"
    other.mkdir(parents=True)
    (other / "kept.gguf").write_bytes(b"x")
    before = Revision.objects.create(name="m", number=1)
    done = job(state=State.COMMITTING)
    folder = models_path / ".ingest" / str(done.pk)
    folder.mkdir(parents=True)
    doctored_note = note(**{field: kept_in.format(outside=outside)}, before_pk=before.pk)
    (folder / "revision.json").write_text(json.dumps(doctored_note))
    exchange.record(done, folder)
    for row in Revision.objects.exclude(kept_in=""):
        kept.give_up(row)
    assert untouched(outside)
    assert (other / "kept.gguf").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[" * 100_000, '{"name": 1}', '{"name": "m", "after": {"pk": 1}}']
)
def test_a_note_that_is_none_does_not_stop_the_job(models_path: Path, text: str) -> None:
    done = job(state=State.COMMITTING)
    folder = models_path / ".ingest" / str(done.pk)
    folder.mkdir(parents=True)
    (folder / "revision.json").write_text(text)
    assert exchange.record(done, folder) is None


def test_a_doctored_note_changes_no_row_of_another_model(models_path: Path) -> None:
    other = Revision.objects.create(name="other", number=1)
    done = job(state=State.COMMITTING)
    folder = models_path / ".ingest" / str(done.pk)
    folder.mkdir(parents=True)
    told = {"id": other.pk, "number": 7, "recipe": {}, "installed_at": "2026-01-01T00:00:00+00:00"}
    after = {**note()["after"], "id": other.pk, "node": "elsewhere", "by": "root"}
    for changes in ({"before": told}, {"before_pk": other.pk}, {"after": after}, {"name": "other"}):
        (folder / "revision.json").write_text(json.dumps(note(**changes)))
        exchange.record(done, folder)
        done.revisions.all().delete()
        other.refresh_from_db()
        assert (other.name, other.number, other.is_current, other.node) == ("other", 1, True, settings.NODE)


@pytest.mark.parametrize("linked", [".previous", ".previous/m", ".previous/m/1"])
def test_a_link_in_place_of_what_is_kept_is_not_followed(models_path: Path, outside: Path, linked: str) -> None:
    """Neither when it is counted, nor when it is brought back, nor when it is removed."""
    place = {".previous": outside, ".previous/m": outside, ".previous/m/1": outside}[linked]
    inner = {".previous": "m/1", ".previous/m": "1", ".previous/m/1": ""}[linked]
    (outside / inner).mkdir(parents=True, exist_ok=True)
    (outside / inner / "secret").write_bytes(SECRET)
    (models_path / linked).parent.mkdir(parents=True, exist_ok=True)
    (models_path / linked).symlink_to(place)
    row = Revision.objects.create(name="m", number=1, is_current=False, kept_in=".previous/m/1", kept_bytes=len(SECRET))
    assert kept.names_in(row.kept_in) == []
    kept.give_up(row)
    kept.model_deleted("m")
    assert (outside / inner / "secret").read_bytes() == SECRET


# --- Acts on files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["sub//m.gguf", "sub/./m.gguf", "./sub/m.gguf", "link/m.gguf", "sub/m.gguf/", "Sub/m.gguf"]
)
def test_a_file_in_use_is_not_deleted_by_another_spelling(as_installer: Client, models_path: Path, name: str) -> None:
    (models_path / "sub").mkdir()
    (models_path / "sub/m.gguf").write_bytes(b"x")
    (models_path / "link").symlink_to("sub")
    (models_path / "m.yaml").write_text("name: m\nparameters:\n  model: sub/m.gguf\n")
    assert as_installer.post("/disk/unused/delete/", {"name": name}).status_code == 303
    assert (models_path / "sub/m.gguf").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../outside/secret", "/etc/passwd", "x\x00", "link/secret", "a" * 5000, "\ud800", "m.yaml"),
        *(".ingest/suspect/../../m.yaml", ".ingest/suspect/", ".ingest/suspect/x", ".ingest/suspect/.."),
        *("{}", "urn:uuid:" + "0" * 32),
    ],
)
@pytest.mark.parametrize("act", ["unused/delete", "suspects/delete", "downloads/discard", "duplicates/link"])
def test_no_name_on_the_disk_page_leads_outside(
    as_installer: Client, models_path: Path, outside: Path, act: str, name: str
) -> None:
    (models_path / "link").symlink_to(outside)
    (models_path / "m.yaml").write_text("name: m\n")
    data = {"name": name, "keep": name, "sha256": name}
    if name == "\ud800":
        answer = as_installer.post(f"/disk/{act}/", "name=%ed%a0%80", content_type="application/x-www-form-urlencoded")
    else:
        answer = as_installer.post(f"/disk/{act}/", data)
    assert answer.status_code == 303
    assert as_installer.get("/disk/").status_code == 200
    assert untouched(outside)
    assert (models_path / "m.yaml").exists()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["a pipe", "an endless device", "a link out"])
@pytest.mark.parametrize("name", ["._gallery_m.yaml", "m.yaml", ".ingest/suspect/0-x.json", "m.tmpl"])
def test_a_file_that_is_none_holds_no_page_up(as_installer: Client, models_path: Path, name: str, kind: str) -> None:
    secret = models_path.parent / "secret.yaml"
    secret.write_text("entry_name: what-nobody-may-know\nname: what-nobody-may-know\n")
    place = models_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    (models_path / ".ingest/suspect").mkdir(parents=True, exist_ok=True)
    (models_path / ".ingest/suspect/0-x").write_bytes(b"x")
    if kind == "a pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero" if kind == "an endless device" else secret)
    for page in ("/disk/", "/models/", "/gallery/", "/gallery/updates/", "/gallery/revisions/m/", "/gallery/delete/m/",
                 "/import/path/", "/"):  # fmt: skip
        answer = as_installer.get(page)
        assert answer.status_code in {200, 302, 303, 404}, page
        assert b"what-nobody-may-know" not in answer.content


# --- Two at once ------------------------------------------------------------------------------------------------------


def test_what_a_roll_back_needs_is_not_forgotten_meanwhile(as_installer: Client, models_path: Path) -> None:
    row = Revision.objects.create(name="m", number=1, is_current=False, kept_in=".previous/m/1", kept_bytes=1)
    (models_path / ".previous/m/1").mkdir(parents=True)
    (models_path / ".previous/m/1/m.gguf").write_bytes(b"x")
    job(kind=Kind.ROLLBACK, state=State.QUEUED)
    with pytest.raises(JobError):
        kept.forget(row, None)
    Revision.objects.update(replaced_at=timezone.now() - 2 * kept.KEPT_FOR)
    assert kept.sweep(timezone.now()) == []
    assert (models_path / ".previous/m/1/m.gguf").exists()


def test_nobody_forgets_while_files_are_put_in_place(models_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Revision.objects.create(name="m", number=1, is_current=False, kept_in=".previous/m/1", kept_bytes=1)
    kept_file = models_path / ".previous/m/1/m.gguf"
    kept_file.parent.mkdir(parents=True)
    kept_file.write_bytes(b"x")
    monkeypatch.setattr(kept, "WAIT", 0.1)
    with models_folder.changing(), pytest.raises(JobError):
        kept.forget(row, None)
    assert kept_file.exists()
