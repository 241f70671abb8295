"""What is known of files in the models folder holds for as long as they are what they were."""

import os

import pytest

from gallery.models import KnownFile
from gallery.services import known_files

pytestmark = pytest.mark.django_db

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def phi(models_path):
    path = models_path / "a" / "phi.gguf"
    path.parent.mkdir()
    path.write_bytes(b"phi")
    known_files.remember("a/phi.gguf", ONE.upper())
    return path


def test_what_was_remembered_is_known_both_ways(phi):
    assert known_files.digest_of("a/phi.gguf") == ONE
    assert known_files.path_of(ONE) == "a/phi.gguf"
    assert known_files.digest_of("a/other") is None
    assert known_files.path_of(TWO) is None
    assert known_files.path_of("") is None


def test_a_file_that_changed_is_not_known_any_more(phi):
    status = phi.stat()
    os.utime(phi, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert known_files.digest_of("a/phi.gguf") is None
    assert known_files.path_of(ONE) is None
    known_files.remember("a/phi.gguf", TWO)
    assert known_files.digest_of("a/phi.gguf") == TWO


def test_a_file_that_changed_while_it_was_read_is_not_remembered(phi):
    before = phi.stat()
    phi.write_bytes(b"longer")
    known_files.remember("a/phi.gguf", TWO, before)
    assert known_files.digest_of("a/phi.gguf") is None


def test_of_several_files_one_that_is_still_there_is_named(phi, models_path):
    (models_path / "b.gguf").write_bytes(b"phi")
    known_files.remember("b.gguf", ONE)
    phi.unlink()
    assert known_files.path_of(ONE) == "b.gguf"


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "link", "folder", "nothing", ""])
def test_only_files_of_the_models_folder_are_remembered(models_path, tmp_path, name):
    (tmp_path / "out").write_bytes(b"x")
    (models_path / "link").symlink_to(tmp_path / "out")
    (models_path / "folder").mkdir()
    known_files.remember(name, ONE)
    assert not KnownFile.objects.exists()


def test_what_is_gone_can_be_forgotten(phi, models_path):
    (models_path / "b.gguf").write_bytes(b"b")
    known_files.remember("b.gguf", TWO)
    phi.unlink()
    assert known_files.forget_missing() == 1
    assert list(KnownFile.objects.values_list("path", flat=True)) == ["b.gguf"]
    known_files.forget("b.gguf")
    assert not KnownFile.objects.exists()
