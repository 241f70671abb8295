"""Revisions: what an install records, what an update keeps, and the way back and forth."""

import hashlib
from datetime import timedelta

import pytest
import yaml
from django.contrib.auth.models import User
from django.utils import timezone

from gallery.models import Entry, Gallery, Job, Revision
from gallery.services import deletions, installs, kept, known_files, leftovers, revisions, rollback, running, updates
from gallery.services.errors import Conflict, NameTaken
from gallery.services.recipes import resolve
from gallery.services.rollback import CannotRollBack
from gallery.services.transport import downloader
from gallery.states import State
from tests.fakes import http_server
from tests.fakes.offers import Offers, install, sha, worked

pytestmark = pytest.mark.django_db(transaction=True)

OLD = {"phi.gguf": b"old weights", "both.bin": b"both", "old.bin": b"only old"}
NEW = {"phi.gguf": b"new weights", "both.bin": b"both", "new.bin": b"only new"}


@pytest.fixture
def offers(models_path):
    with http_server.running() as server:
        yield Offers(server)


def old(offers):
    url = offers.recipe(context_size=10, templates={"chat": "old", "gone": "x"})
    return offers.entry(files=OLD, url=url)


def new(offers):
    url = offers.recipe(context_size=20, f16=True, templates={"chat": "new"})
    return offers.entry(files=NEW, url=url, overrides={"threads": 4})


def updated(offers, **more):
    install(old(offers))
    return install(new(offers), update=True, **more)


def seen(folder):
    """What a person sees: name and content of every file that is not the console's own."""
    found = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    return {name: body for name, body in named.items() if not name.startswith((".ingest", ".previous"))}


def config(folder, name="phi"):
    return yaml.safe_load((folder / f"{name}.yaml").read_text())


def edit(folder, **changes):
    path = folder / "phi.yaml"
    path.write_text("# by hand\n" + yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))


def back(number, name="phi"):
    return worked(rollback.request_rollback(name, number, None))


def numbers():
    return [(row.number, row.is_current, row.is_kept) for row in Revision.objects.order_by("number")]


def difference(entry, name="phi", **how):
    wish = {"entry": entry.full_name, "name": name}
    with downloader() as transport:
        return revisions.difference(revisions.current(name), resolve(wish, transport), **how)


# --- what is recorded


def test_an_install_is_recorded_with_all_it_wrote(offers, models_path):
    entry = new(offers)
    job = install(entry, by=User.objects.create_user("anna"), overrides={"context_size": 7})
    row = Revision.objects.get()
    assert (row.name, row.number, row.is_current, row.gallery, row.entry) == ("phi", 1, True, "own", "phi")
    assert (row.by, row.job, row.entry_digest) == ("anna", job, entry.digest)
    assert row.bytes == sum(map(len, NEW.values()))
    assert row.recipe["config"]["context_size"] == 7
    assert row.recipe["overrides"] == {"context_size": 7}
    assert {file["filename"]: (file["size"], file["sha256"]) for file in row.recipe["files"]} == {
        name: (len(body), sha(body)) for name, body in NEW.items()
    }
    assert row.recipe["templates"] == [["chat.tmpl", "new"]]
    assert row.recipe["gallery_file"]["entry_name"] == "phi"
    assert row.record_digest == hashlib.sha256((models_path / "._gallery_phi.yaml").read_bytes()).hexdigest()


def test_a_file_without_a_digest_is_recorded_with_the_one_it_has(offers):
    entry = offers.entry()
    entry.data["files"][0]["sha256"] = ""
    entry.save()
    install(entry)
    assert Revision.objects.get().recipe["files"][0]["sha256"] == sha(b"weights")
    assert known_files.path_of(sha(b"weights")) == "phi.gguf"


def test_the_row_is_written_by_whoever_finds_the_commit_done(offers, models_path):
    job = installs.request(installs.wish_for(old(offers)), None)

    class Killed(BaseException):
        pass

    def work(run):
        installs.run_install(run)
        raise Killed

    with pytest.raises(Killed):
        running.run(job.pk, work)
    Revision.objects.all().delete()
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED)
    offers.server.pages.clear()
    assert worked(job).state == State.DONE
    assert numbers() == [(1, True, False)]


def test_nothing_new_is_no_new_revision(offers, models_path):
    entry = old(offers)
    install(entry)
    before = seen(models_path)
    Entry.objects.update(digest="f" * 64)
    job = install(entry, update=True)
    assert (numbers(), seen(models_path)) == ([(1, True, False)], before)
    assert Revision.objects.get().entry_digest == "f" * 64
    assert "nothing of it has changed" in job.message
    assert not (models_path / ".previous").exists()


# --- updates


def test_an_update_replaces_what_changed_and_keeps_what_was_there(offers, models_path):
    install(old(offers))
    before = seen(models_path)
    job = install(new(offers), update=True)
    assert (job.state, job.error) == (State.DONE, "")
    after = seen(models_path)
    assert {name: after[name] for name in NEW} == NEW
    assert "old.bin" not in after
    assert "gone.tmpl" not in after
    assert after["chat.tmpl"] == b"new"
    assert numbers() == [(1, False, True), (2, True, False)]
    row = Revision.objects.get(number=1)
    assert row.kept_in == ".previous/phi/1"
    aside = {name: (models_path / row.kept_in / name).read_bytes() for name in kept.names_in(row.kept_in)}
    assert aside == {name: body for name, body in before.items() if after.get(name) != body}
    assert row.kept_bytes == sum(map(len, aside.values()))


def test_what_another_model_uses_stays_in_its_place(offers, models_path):
    install(old(offers))
    (models_path / "other.yaml").write_text("name: other\nparameters: {model: old.bin}\n")
    install(new(offers), update=True)
    assert (models_path / "old.bin").read_bytes() == OLD["old.bin"]
    assert "old.bin" not in kept.names_in(".previous/phi/1")
    assert back(1).state == State.DONE


def test_what_the_configuration_still_names_stays_in_its_place(offers, models_path):
    install(old(offers))
    edit(models_path, mmproj="old.bin")
    install(new(offers), update=True)
    assert config(models_path)["mmproj"] == "old.bin"
    assert (models_path / "old.bin").exists()


def test_a_file_that_a_person_put_there_is_never_taken_away(offers, models_path):
    install(old(offers))
    (models_path / "own.lora").write_bytes(b"lora")
    edit(models_path, lora_adapter="own.lora")
    install(new(offers))
    assert (models_path / "own.lora").read_bytes() == b"lora"


def test_changes_by_hand_are_kept_by_an_update(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99, threads=2)
    written = (models_path / "phi.yaml").read_bytes()
    install(new(offers), update=True)
    now = config(models_path)
    assert (now["context_size"], now["threads"], now["f16"]) == (99, 2, True)
    assert (models_path / ".previous/phi/1/phi.yaml").read_bytes() == written


def test_changes_by_hand_are_known_as_such_at_the_next_update(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    install(new(offers), update=True)
    install(offers.entry(files=NEW, url=offers.recipe(context_size=30)), update=True)
    assert config(models_path)["context_size"] == 99


def test_a_configuration_that_says_it_all_already_stays_as_it_is_written(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    written = (models_path / "phi.yaml").read_bytes()
    install(offers.entry(files=NEW, url=offers.recipe(context_size=10)), update=True)
    assert (models_path / "phi.yaml").read_bytes() == written


def test_an_install_anew_replaces_changes_by_hand_and_keeps_the_file(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    written = (models_path / "phi.yaml").read_bytes()
    install(old(offers))
    assert config(models_path)["context_size"] == 10
    assert (models_path / ".previous/phi/1/phi.yaml").read_bytes() == written


def test_changes_that_do_not_go_with_the_new_configuration_are_refused_before_anything_is_fetched(offers, models_path):
    install(old(offers))
    edit(models_path, proxy={"api_key_env": "KEY"})
    before = seen(models_path)
    entry = offers.entry(files=NEW, overrides={"proxy": {"api_key_file": "key"}})
    job = install(entry, update=True)
    assert (job.state, job.cause) == (State.FAILED, "bad entry")
    assert "changed by hand" in job.error
    assert seen(models_path) == before


def test_a_configuration_that_cannot_be_read_is_named_before_anything_is_fetched(offers, models_path):
    install(old(offers))
    edit(models_path, backend="llama cpp")
    before = seen(models_path)
    job = install(new(offers), update=True)
    assert (job.state, job.cause) == (State.FAILED, "bad entry")
    assert "phi.yaml is not used as it is" in job.error
    assert seen(models_path) == before


def test_an_update_that_fails_leaves_the_one_before_byte_for_byte(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    before = seen(models_path)
    entry = new(offers)
    offers.server.gives(f"/{sha(NEW['phi.gguf'])[:12]}", b"not what was promised")
    job = install(entry, update=True)
    assert (job.state, job.cause) == (State.FAILED, "digest_mismatch")
    assert seen(models_path) == before
    assert numbers() == [(1, True, False)]
    assert not (models_path / ".previous").exists()


def test_only_one_earlier_revision_is_kept(offers, models_path):
    updated(offers)
    install(old(offers), update=True)
    assert numbers() == [(1, False, False), (2, False, True), (3, True, False)]
    assert [path.name for path in (models_path / ".previous/phi").iterdir()] == ["2"]


def test_overrides_of_the_install_are_those_of_its_update(offers):
    install(old(offers), overrides={"seed": 5})
    new(offers)
    update = updates.of_model("phi")
    assert update.request() == {"entry": "own@phi", "name": "phi", "update": True, "overrides": {"seed": 5}}


def test_a_gallery_cannot_put_files_where_earlier_revisions_are_kept(offers, models_path):
    job = install(offers.entry(files={".previous/phi/1/phi.yaml": b"x"}, config_file=None))
    assert job.state == State.FAILED
    assert "kept for the console" in job.error


# --- what LocalAI installed


def by_localai(models_path, **record):
    (models_path / "phi.gguf").write_bytes(OLD["phi.gguf"])
    (models_path / "phi.yaml").write_text("name: phi\nbackend: llama-cpp\ncontext_size: 5\n")
    files = [{"filename": "phi.gguf", "sha256": sha(OLD["phi.gguf"]), "uri": "https://x.test/phi.gguf"}]
    (models_path / "._gallery_phi.yaml").write_text(yaml.safe_dump({"name": "base", "files": files, **record}))


@pytest.mark.parametrize("record", [{}, {"entry_name": "phi", "resolved_variant": "phi-q4"}])
def test_a_model_of_localais_is_a_revision_of_unknown_age_and_can_come_back(offers, models_path, record):
    by_localai(models_path, **record)
    before = seen(models_path)
    here = revisions.current("phi")
    assert (here.pk, here.number, here.gallery, here.recipe["unknown"]) == (None, 1, "", True)
    assert install(new(offers), update=True).state == State.DONE
    assert config(models_path)["context_size"] == 20
    assert numbers() == [(1, False, True), (2, True, False)]
    assert back(1).state == State.DONE
    assert seen(models_path) == before


def test_a_model_whose_record_was_replaced_by_localai_is_of_unknown_age_again(offers, models_path):
    install(old(offers))
    by_localai(models_path, prompt_templates=[{"name": "chat", "content": "old"}])
    assert revisions.current("phi").recipe["unknown"]
    install(new(offers), update=True)
    assert numbers() == [(1, False, False), (2, False, True), (3, True, False)]


# --- differences


def test_a_difference_names_files_settings_templates_and_changes_by_hand(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    found = difference(new(offers))
    assert [file["filename"] for file in found["files"]["added"]] == ["new.bin"]
    assert [file["filename"] for file in found["files"]["removed"]] == ["old.bin"]
    assert [file["filename"] for file in found["files"]["changed"]] == ["phi.gguf"]
    assert {"path": "f16", "before": None, "after": "true"} in found["config"]
    assert "context_size" not in [setting["path"] for setting in found["config"]]
    assert found["by_hand"] == [
        {"path": "context_size", "installed": "10", "now": "99", "gallery": "20", "kept": True, "contested": True}
    ]
    assert found["templates"] == {"added": [], "removed": ["gone.tmpl"], "changed": ["chat.tmpl"]}
    assert (found["revision"], found["unknown"], found["nothing"]) == (1, False, False)


def test_an_install_anew_says_that_changes_by_hand_are_lost(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    found = difference(new(offers), keeps_edits=False)
    assert {"path": "context_size", "before": "99", "after": "20"} in found["config"]
    assert [edit["kept"] for edit in found["by_hand"]] == [False]


def test_no_difference_is_nothing(offers):
    entry = old(offers)
    install(entry)
    assert difference(entry)["nothing"]


def test_a_difference_shows_no_secret(offers, models_path):
    install(old(offers))
    edit(models_path, hf_token="secret-value")
    assert "secret-value" not in str(difference(new(offers)))


def test_another_backend_is_told(offers):
    install(old(offers))
    found = difference(offers.entry(files=OLD, url=offers.recipe(backend="vllm")))
    assert found["backend"] == {"before": "llama-cpp", "after": "vllm"}


# --- the way back


def test_a_roll_back_brings_everything_back_and_can_go_forward_again(offers, models_path):
    install(old(offers))
    edit(models_path, context_size=99)
    first = seen(models_path)
    install(new(offers), update=True)
    second = seen(models_path)
    job = back(1)
    assert (job.state, job.error) == (State.DONE, "")
    assert seen(models_path) == first
    assert numbers() == [(1, False, False), (2, False, True), (3, True, False)]
    assert Revision.objects.get(number=3).recipe["back_to"] == 1
    assert job.message == "phi is back at revision 1, as revision 3"
    assert back(2).state == State.DONE
    assert seen(models_path) == second
    assert numbers()[-2:] == [(3, False, True), (4, True, False)]
    assert not list(models_path.glob(".ingest/*"))


def test_what_was_changed_by_hand_between_an_update_and_a_roll_back_is_there_on_the_way_forward(offers, models_path):
    updated(offers)
    edit(models_path, seed=3)
    back(1)
    back(2)
    assert config(models_path)["seed"] == 3


def test_an_update_is_offered_again_after_a_roll_back(offers):
    updated(offers)
    assert updates.available() == []
    back(1)
    assert [update.model for update in updates.available()] == ["phi"]


def test_a_revision_that_is_not_kept_cannot_come_back(offers):
    install(old(offers))
    with pytest.raises(CannotRollBack, match="Revision 1 of phi is not kept"):
        rollback.request_rollback("phi", 1, None)


def test_a_file_that_both_revisions_need_and_is_gone_is_named(offers, models_path):
    updated(offers)
    (models_path / "both.bin").unlink()
    with pytest.raises(CannotRollBack, match=r"both\.bin.*not here any more"):
        rollback.request_rollback("phi", 1, None)


def test_a_file_that_both_revisions_need_and_is_another_is_named(offers, models_path):
    updated(offers)
    (models_path / "both.bin").write_bytes(b"something else")
    with pytest.raises(CannotRollBack, match=r"both\.bin.*another file"):
        rollback.request_rollback("phi", 1, None)


def test_what_is_kept_has_to_be_whole(offers, models_path):
    updated(offers)
    (models_path / ".previous/phi/1/old.bin").unlink()
    with pytest.raises(CannotRollBack, match="not whole any more"):
        rollback.request_rollback("phi", 1, None)


def test_a_name_that_another_model_has_taken_is_not_overwritten(offers, models_path):
    updated(offers)
    (models_path / "old.bin").write_bytes(b"another's")
    (models_path / "other.yaml").write_text("name: other\nparameters: {model: old.bin}\n")
    with pytest.raises(CannotRollBack, match=r"Another model now uses old\.bin"):
        rollback.request_rollback("phi", 1, None)


def test_a_name_that_was_taken_while_the_job_waited_is_not_overwritten(offers, models_path):
    updated(offers)
    job = rollback.request_rollback("phi", 1, None)
    (models_path / "old.bin").write_bytes(b"another's")
    before = seen(models_path)
    worked(job)
    assert (job.state, job.cause) == (State.FAILED, "cannot roll back")
    assert seen(models_path) == before
    assert numbers() == [(1, False, True), (2, True, False)]


def test_a_configuration_of_somebody_else_is_not_replaced_by_a_roll_back(offers, models_path):
    updated(offers)
    (models_path / "._gallery_phi.yaml").unlink()
    with pytest.raises(NameTaken):
        rollback.request_rollback("phi", 1, None)


def test_nothing_else_is_done_to_a_model_while_it_is_rolled_back(offers):
    updated(offers)
    rollback.request_rollback("phi", 1, None)
    with pytest.raises(Conflict):
        deletions.request_delete("phi", None)
    with pytest.raises(Conflict):
        kept.forget(Revision.objects.get(number=1), None)


# --- what is kept, and for how long


def test_what_is_kept_can_be_given_up(offers, models_path):
    updated(offers)
    row = Revision.objects.get(number=1)
    size = row.kept_bytes
    assert kept.forget(row, None) == size > 0
    assert numbers() == [(1, False, False), (2, True, False)]
    assert not (models_path / ".previous").exists()
    assert kept.forget(row, None) == 0


def test_what_was_kept_for_a_month_goes_by_itself(offers, models_path):
    updated(offers)
    now = timezone.now()
    assert kept.sweep(now + timedelta(days=29)) == []
    assert kept.sweep(now + timedelta(days=31)) == ["phi, revision 1"]
    assert not (models_path / ".previous").exists()


def test_a_folder_that_no_row_tells_of_goes_after_a_day(models_path):
    (models_path / ".previous/lost/3").mkdir(parents=True)
    now = timezone.now()
    assert kept.sweep(now) == []
    assert kept.sweep(now + timedelta(days=2)) == [".previous/lost/3"]
    assert not (models_path / ".previous").exists()


def test_deleting_a_model_takes_what_is_kept_of_it_and_leaves_its_history(offers, models_path):
    updated(offers)
    running.run(deletions.request_delete("phi", None).pk, deletions.run_delete)
    assert numbers() == [(1, False, False), (2, False, False)]
    assert list(models_path.iterdir()) == []


def test_a_model_that_is_installed_after_a_deletion_goes_on_counting(offers):
    updated(offers)
    running.run(deletions.request_delete("phi", None).pk, deletions.run_delete)
    install(old(offers))
    assert numbers()[-1] == (3, True, False)


def test_a_worker_that_died_too_often_in_a_commit_leaves_the_row_of_what_it_did(offers, models_path):
    """Everything was in place; only the row and the last state are missing."""
    job = installs.request(installs.wish_for(old(offers)), None)

    class Killed(BaseException):
        pass

    def work(run):
        installs.run_install(run)
        raise Killed

    with pytest.raises(Killed):
        running.run(job.pk, work)
    Revision.objects.all().delete()
    leftovers.settle(job)
    assert numbers() == [(1, True, False)]


def test_another_galleries_entry_of_the_same_name_is_no_update(offers):
    install(old(offers))
    other = Offers(offers.server, "other")
    other.entry(files=NEW)
    assert updates.available() == []
    Gallery.objects.filter(name="own").update(enabled=False)
    assert updates.available() == []
