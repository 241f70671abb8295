"""What differs between two revisions, and how a person's own changes are carried over."""

import pytest

from gallery.catalog import differences
from gallery.catalog.differences import ABSENT
from gallery.downloads.specs import FileSpec

INSTALLED = {"name": "phi", "context_size": 10, "parameters": {"model": "a.gguf", "temperature": 0.5}, "f16": True}


def carried(now, new):
    made = differences.edits(INSTALLED, now, new)
    return differences.with_edits(new, made), made


@pytest.mark.parametrize(
    ("now", "new", "expected"),
    [
        # Nobody changed anything by hand: the gallery has its way.
        (INSTALLED, {"context_size": 20}, {"context_size": 20}),
        # A value of the person's stays.
        ({**INSTALLED, "context_size": 99}, {"context_size": 10}, {"context_size": 99}),
        # Also where the gallery has changed it, too.
        ({**INSTALLED, "context_size": 99}, {"context_size": 20}, {"context_size": 99}),
        # What the person added stays.
        ({**INSTALLED, "threads": 4}, {}, {"threads": 4}),
        # What the person took out stays out.
        ({key: value for key, value in INSTALLED.items() if key != "f16"}, {"f16": True, "mmap": 1}, {"mmap": 1}),
        # Deep inside, and only there.
        (
            {**INSTALLED, "parameters": {"model": "a.gguf", "temperature": 0.9}},
            {"parameters": {"model": "b.gguf", "temperature": 0.5}},
            {"parameters": {"model": "b.gguf", "temperature": 0.9}},
        ),
        # true is not 1.
        ({**INSTALLED, "f16": 1}, {"f16": True}, {"f16": 1}),
        # A map in place of a value.
        ({**INSTALLED, "f16": {"on": True}}, {"f16": True}, {"f16": {"on": True}}),
        # The name is what the model was installed as.
        ({**INSTALLED, "name": "other"}, {"name": "phi"}, {"name": "phi"}),
    ],
)
def test_a_persons_changes_are_laid_over_the_new_configuration(now, new, expected):
    assert carried(now, new)[0] == expected


def test_a_change_that_the_gallery_made_as_well_is_contested():
    now = {**INSTALLED, "context_size": 99, "f16": False}
    _, made = carried(now, {"context_size": 20, "f16": True})
    assert {edit.path: edit.is_contested for edit in made} == {("context_size",): True, ("f16",): False}


def test_the_same_change_on_both_sides_is_not_contested():
    _, made = carried({**INSTALLED, "context_size": 20}, {"context_size": 20})
    assert [edit.is_contested for edit in made] == [False]


def test_settings_that_differ_are_named_by_their_keys():
    found = differences.settings({"a": {"b": 1, "c": [1]}, "d": None}, {"a": {"b": 2, "c": [1]}, "e": {}})
    assert [(one.path, one.before, one.after) for one in found] == [
        (("a", "b"), 1, 2),
        (("d",), None, ABSENT),
        (("e",), ABSENT, {}),
    ]


def test_a_file_is_the_same_by_its_digest_wherever_it_comes_from():
    before = [{"filename": "a", "uri": "https://one/a", "sha256": "1" * 64, "size": 5}]
    found = differences.files(before, [FileSpec("a", "1" * 64, "https://two/a")])
    assert not any(found.values())


@pytest.mark.parametrize(
    ("uri", "size", "changed"), [("https://one/a", 5, 0), ("https://two/a", 5, 1), ("https://one/a", 6, 1)]
)
def test_a_file_without_a_digest_is_the_same_by_address_and_size(uri, size, changed):
    before = [{"filename": "a", "uri": "https://one/a", "sha256": "", "size": 5}]
    assert len(differences.files(before, [FileSpec("a", "", uri, size)])["changed"]) == changed


def test_files_that_come_and_go_are_told():
    before = [{"filename": "old", "uri": "u", "sha256": "", "size": 5}]
    found = differences.files(before, [FileSpec("new", "", "u")])
    assert [file["filename"] for file in found["added"]] == ["new"]
    assert [file["filename"] for file in found["removed"]] == ["old"]
