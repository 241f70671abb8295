"""Which entries are installed, and as what: also renamed ones, and never a stranger of the same name."""

import os

import pytest
import yaml

from gallery import installed
from gallery.models import Revision
from tests.fakes import http_server
from tests.fakes.offers import Offers, install

pytestmark = pytest.mark.django_db(transaction=True)

#: As LocalAI wrote it in 2024: the name is that of the recipe, and nothing says which entry it was.
RECORD_2024 = {
    "name": "base",
    "config_file": "backend: x\n",
    "files": [{"filename": "phi.gguf", "sha256": "", "uri": ""}],
}
RECORD_2026 = {**RECORD_2024, "entry_name": "phi"}


@pytest.fixture
def offers(models_path):
    with http_server.running() as server:
        yield Offers(server)


def write(folder, stem, record=None, config=True):
    if config:
        (folder / f"{stem}.yaml").write_text(f"name: {stem}\nbackend: x\n")
    if record is not None:
        (folder / f"._gallery_{stem}.yaml").write_text(yaml.safe_dump(record))


def test_nothing_is_installed_in_an_empty_folder(models_path):
    here = installed.entries_here()
    assert not here.is_installed("own", "phi")
    assert here.names == frozenset()


def test_nothing_is_installed_without_a_folder(models_path):
    models_path.rmdir()
    assert installed.entries_here().names == frozenset()


def test_an_install_makes_its_entry_installed(offers):
    install(offers.entry())
    here = installed.entries_here()
    assert here.models_of("own", "phi") == ("phi",)
    assert here.names == here.names_in("own") == {"phi"}


def test_a_renamed_install_counts_for_the_entry_and_not_for_its_own_name(offers):
    install(offers.entry(), "mine")
    here = installed.entries_here()
    assert here.models_of("own", "phi") == ("mine",)
    assert not here.is_installed("own", "mine")


def test_an_entry_can_be_installed_under_several_names(offers):
    install(offers.entry())
    install(offers.entry(), "mine")
    assert installed.entries_here().models_of("own", "phi") == ("mine", "phi")


def test_a_stranger_of_the_same_name_is_not_the_entry(offers, models_path):
    offers.entry()
    write(models_path, "phi")
    assert not installed.entries_here().is_installed("own", "phi")


def test_two_galleries_with_an_entry_of_the_same_name_are_told_apart(offers):
    other = Offers(offers.server, "other")
    other.entry()
    install(offers.entry())
    here = installed.entries_here()
    assert here.is_installed("own", "phi")
    assert not here.is_installed("other", "phi")
    assert here.names_in("other") == frozenset()


@pytest.mark.parametrize("record", [RECORD_2024, RECORD_2026])
def test_what_localai_installed_itself_is_installed_from_any_gallery(models_path, record):
    write(models_path, "phi", record)
    here = installed.entries_here()
    assert here.is_installed("own", "phi")
    assert here.is_installed("other", "phi")


def test_what_localai_installed_under_another_name_is_found_by_its_record(models_path):
    write(models_path, "mine", RECORD_2026)
    assert installed.entries_here().models_of("own", "phi") == ("mine",)


def test_a_slash_in_a_name_is_two_underscores_in_that_of_its_file(models_path):
    write(models_path, "org__phi", RECORD_2024)
    assert installed.entries_here().is_installed("own", "org/phi")


def test_a_record_whose_configuration_is_gone_is_nothing_installed(models_path):
    write(models_path, "phi", RECORD_2026, config=False)
    assert not installed.entries_here().is_installed("own", "phi")


def test_an_entry_of_files_alone_needs_no_configuration(offers):
    install(offers.entry(files={"data.bin": b"x"}, config_file=None))
    assert installed.entries_here().is_installed("own", "phi")


@pytest.mark.parametrize("text", ["[1, 2", "- a\n", "\x00", "entry_name: [phi]\n"])
def test_a_record_that_cannot_be_read_does_not_hide_the_others(models_path, text):
    write(models_path, "phi", RECORD_2026)
    write(models_path, "odd")
    (models_path / "._gallery_odd.yaml").write_text(text)
    assert installed.entries_here().is_installed("own", "phi")


def test_what_localai_put_in_place_of_ours_is_told_by_its_record(offers, models_path):
    install(offers.entry())
    write(models_path, "phi", {**RECORD_2026, "entry_name": "qwen"})
    here = installed.entries_here()
    assert here.is_installed("own", "qwen")
    assert not here.is_installed("own", "phi")


def test_a_model_that_is_gone_is_not_installed(offers, models_path):
    install(offers.entry())
    for name in ("phi.yaml", "._gallery_phi.yaml"):
        (models_path / name).unlink()
    assert not installed.entries_here().is_installed("own", "phi")


def test_a_list_asks_the_database_once_and_reads_nothing_again(offers, models_path, django_assert_num_queries):
    install(offers.entry())
    os.utime(models_path, (1, 1))
    first = installed.entries_here()
    with django_assert_num_queries(1):
        assert installed.entries_here() is first


def test_a_changed_row_is_seen_though_the_folder_is_as_it_was(offers, models_path):
    install(offers.entry())
    os.utime(models_path, (1, 1))
    assert installed.entries_here().is_installed("own", "phi")
    Revision.objects.update(is_current=False)
    assert installed.entries_here().models_of("own", "phi") == ("phi",)
    assert ("own", "phi") not in installed.entries_here().models
