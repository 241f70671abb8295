"""The pages of updates and of revisions: what they say, what they ask of the database, and what they refuse."""

import pytest
from django.utils import timezone

from gallery.models import Entry, Gallery, Job, Plan, Revision
from gallery.services import updates
from gallery.states import Kind

DIGESTS = {"old": "a" * 64, "new": "b" * 64}


@pytest.fixture
def gallery(db, models_path):
    return Gallery.objects.create(name="own", url="https://own.test/", digest="1", refreshed_at=timezone.now())


@pytest.fixture
def phi(gallery, models_path):
    return model(gallery, models_path)


def model(gallery, folder, name="phi", *, entry="", offered="new", installed="old", number=2):
    """An installed model, and its entry as the gallery has it now."""
    entry = entry or name
    data = {"name": entry, "config_file": {"backend": "x"}}
    Entry.objects.get_or_create(gallery=gallery, name=entry, defaults={"data": data, "digest": DIGESTS[offered]})
    (folder / f"{name}.yaml").write_text(f"name: {name}\nbackend: x\n")
    record = folder / f"._gallery_{name}.yaml"
    record.write_text(f"name: {name}\nentry_name: {entry}\n")
    return row(name, number, gallery="own", entry=entry, entry_digest=DIGESTS[installed], record=record)


def row(name, number, *, record=None, **fields):
    from gallery.records import digest_of

    recipe = {"config": {"backend": "x", "context_size": number}, "files": [], "templates": []}
    digest = digest_of(record) if record else ""
    fields = {"is_current": record is not None, "record_digest": digest, "recipe": recipe, "by": "anna", **fields}
    return Revision.objects.create(name=name, node="local", number=number, bytes=5 << 20, **fields)


def kept(name="phi", number=1, folder=None):
    size = 3 << 20
    if folder:
        (folder / f".previous/{name}/{number}").mkdir(parents=True)
        for file in (f"{name}.yaml", f"._gallery_{name}.yaml"):
            (folder / f".previous/{name}/{number}/{file}").write_text(f"name: {name}\n")
        size = 2 * len(f"name: {name}\n")
    return row(name, number, kept_in=f".previous/{name}/{number}", kept_bytes=size, replaced_at=timezone.now())


def text(client, url, status=200):
    response = client.get(url)
    assert response.status_code == status
    return response.content.decode()


# --- what has an update


def test_a_model_whose_entry_is_another_by_now_has_an_update(phi):
    assert [(update.model, update.full_entry, update.number) for update in updates.available()] == [
        ("phi", "own@phi", 2)
    ]


@pytest.mark.parametrize(("offered", "installed"), [("old", "old"), ("new", "new")])
def test_a_model_that_is_what_its_entry_says_has_none(gallery, models_path, offered, installed):
    model(gallery, models_path, offered=offered, installed=installed)
    assert updates.available() == []


def test_a_renamed_model_has_the_update_of_its_entry(gallery, models_path):
    model(gallery, models_path, "mine", entry="phi")
    assert [update.model for update in updates.of_entry("own", "phi")] == ["mine"]
    assert updates.of_model("phi") is None


def test_a_model_that_is_gone_or_a_strangers_has_none(phi, models_path):
    (models_path / "._gallery_phi.yaml").unlink()
    assert updates.available() == []


def test_a_gallery_that_is_not_shown_offers_no_updates(phi, gallery):
    gallery.enabled = False
    gallery.save()
    assert updates.available() == []


@pytest.mark.parametrize(("digest", "count"), [("1" * 64, 0), ("2" * 64, 1)])
def test_what_localai_installed_is_compared_by_its_files(gallery, models_path, digest, count):
    files = [{"filename": "phi.gguf", "sha256": digest, "uri": "https://x.test/"}]
    Entry.objects.create(gallery=gallery, name="phi", data={"name": "phi", "files": files}, digest="c" * 64)
    (models_path / "phi.yaml").write_text("name: phi\n")
    record = f"name: base\nfiles:\n- filename: phi.gguf\n  sha256: '{'1' * 64}'\n"
    (models_path / "._gallery_phi.yaml").write_text(record)
    assert len(updates.available()) == count


# --- the page of updates


def test_the_page_lists_each_model_with_the_way_to_its_plan(phi, as_installer):
    page = text(as_installer, "/gallery/updates/")
    assert "1 model differs from its gallery" in page
    assert "own@phi" in page
    response = as_installer.post("/gallery/updates/phi/")
    assert (response.status_code, response.headers["Location"]) == (303, f"/plans/{Plan.objects.get().pk}/")
    assert Plan.objects.get().request == {"entry": "own@phi", "name": "phi", "update": True}
    assert not Job.objects.exists()


def test_without_updates_the_page_says_so(gallery, as_viewer):
    assert "Everything is as its gallery has it" in text(as_viewer, "/gallery/updates/")


def test_who_may_not_install_sees_the_updates_and_no_button(phi, as_viewer):
    page = text(as_viewer, "/gallery/updates/")
    assert "own@phi" in page
    assert "See what changes" not in page
    assert as_viewer.post("/gallery/updates/phi/").status_code == 403


def test_there_is_no_update_of_what_has_none(gallery, as_installer):
    assert as_installer.post("/gallery/updates/phi/").status_code == 404


def test_the_page_asks_the_database_the_same_for_many(gallery, models_path, as_viewer, django_assert_max_num_queries):
    for number in range(60):
        model(gallery, models_path, f"m{number:02}")
    text(as_viewer, "/gallery/updates/")
    with django_assert_max_num_queries(14):
        page = text(as_viewer, "/gallery/updates/")
    assert "Page 1 of 2" in page
    assert "m59" in text(as_viewer, "/gallery/updates/?page=2")


def test_the_gallery_the_entry_and_the_overview_tell_of_the_update(phi, as_installer):
    assert "1 update" in text(as_installer, "/gallery/")
    assert "Update available" in text(as_installer, "/gallery/own/phi/")
    assert "1 installed model differs" in text(as_installer, "/")


def test_the_gallery_says_nothing_when_there_is_no_update(gallery, as_installer):
    assert "/gallery/updates/" not in text(as_installer, "/gallery/")


# --- the page of revisions


def test_the_page_lists_revisions_with_who_when_and_what_changed(phi, as_viewer):
    kept()
    page = text(as_viewer, "/gallery/revisions/phi/")
    for part in ("Revision 2", "Revision 1", "anna", "own@phi", "5.0 MiB", "Kept, 3.0 MiB", "context_size", "1 → 2"):
        assert part in page
    assert "Roll back" not in page


def test_rolling_back_leads_to_its_job(phi, as_installer, models_path):
    kept(folder=models_path)
    assert "Roll back" in text(as_installer, "/gallery/revisions/phi/")
    response = as_installer.post("/gallery/revisions/phi/1/back/")
    job = Job.objects.get(kind=Kind.ROLLBACK)
    assert (response.status_code, response.headers["Location"]) == (303, f"/jobs/{job.pk}/")
    assert (job.subject, job.by) == ("phi", "installer-person")
    page = text(as_installer, "/gallery/revisions/phi/")
    assert "follow the job" in page
    assert "Roll back</button>" not in page


def test_a_roll_back_that_cannot_be_is_refused_with_a_sentence(phi, as_installer):
    kept()
    response = as_installer.post("/gallery/revisions/phi/1/back/", follow=True)
    assert "not whole any more" in response.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("act", ["back", "forget"])
def test_who_may_not_does_not(phi, as_viewer, act):
    kept()
    assert as_viewer.post(f"/gallery/revisions/phi/1/{act}/").status_code == 403


def test_what_is_kept_can_be_removed(phi, as_installer, models_path):
    kept(folder=models_path)
    as_installer.post("/gallery/revisions/phi/1/forget/")
    assert not (models_path / ".previous").exists()
    assert "Not kept" in text(as_installer, "/gallery/revisions/phi/")


def test_a_revision_that_never_was_is_not_found(phi, as_installer):
    assert as_installer.post("/gallery/revisions/phi/7/forget/").status_code == 404


def test_a_model_that_somebody_wrote_has_no_revisions(db, models_path, as_viewer):
    (models_path / "mine.yaml").write_text("name: mine\nbackend: x\n")
    assert "It came from no gallery" in text(as_viewer, "/gallery/revisions/mine/")
    text(as_viewer, "/gallery/revisions/nothing/", status=404)


def test_a_model_of_localais_is_shown_as_of_unknown_age(db, models_path, as_viewer):
    (models_path / "phi.yaml").write_text("name: phi\n")
    (models_path / "._gallery_phi.yaml").write_text("name: base\n")
    assert "Before revisions were kept" in text(as_viewer, "/gallery/revisions/phi/")


@pytest.mark.parametrize("name", ["../phi", "a\\b", ".hidden", "x" * 300])
def test_a_name_that_no_model_has_is_not_found(db, models_path, as_viewer, name):
    text(as_viewer, f"/gallery/revisions/{name}/", status=404)


def test_the_page_asks_the_database_the_same_for_many_revisions(phi, as_viewer, django_assert_max_num_queries):
    for number in range(3, 30):
        row("phi", number)
    with django_assert_max_num_queries(14):
        text(as_viewer, "/gallery/revisions/phi/")


def test_a_poll_with_nothing_new_is_answered_with_nothing(phi, as_viewer):
    Job.objects.create(kind=Kind.ROLLBACK, subject="phi", request={})
    page = text(as_viewer, "/gallery/revisions/phi/")
    poll = page.partition('hx-get="/gallery/revisions/phi/?v=')[2].partition('"')[0]
    again = as_viewer.get(f"/gallery/revisions/phi/?v={poll}", headers={"HX-Request": "true"})
    assert again.status_code == 204
    assert as_viewer.get("/gallery/revisions/phi/?v=x", headers={"HX-Request": "true"}).status_code == 200


def test_the_page_of_a_model_leads_to_its_revisions(phi, as_viewer):
    assert "/gallery/revisions/phi/" in text(as_viewer, "/models/phi/")


def test_deleting_says_what_else_goes(phi, as_installer):
    kept()
    assert "3.0 MiB more become free" in text(as_installer, "/gallery/delete/phi/")
