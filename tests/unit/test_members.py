"""Sets of entries by place."""

import random
from array import array

import pytest

from gallery.searching.members import PLACES, Postings, bitmap, flags, from_places, joined, moved, packed, places, size
from gallery.searching.part import FIELDS, Row, decoded, encoded, made


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 3000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 1.0])
def test_a_set_is_the_same_in_every_form(count, share):
    picked = random.Random(count)
    chosen = [place for place in range(count) if picked.random() < share]
    members = from_places(chosen, count)
    assert list(places(members, count)) == chosen
    assert bitmap(flags(members, count)) == members
    assert size(members) == size(array(PLACES, chosen)) == len(chosen)
    small = packed(array(PLACES, chosen), count)
    assert isinstance(small, int) == (len(chosen) * 256 >= count)


def test_sets_of_galleries_are_put_one_behind_the_other():
    few, many = array(PLACES, [1]), 0b101
    assert joined(many, moved(few, 3), 6) == 0b010101
    assert list(joined(few, moved(few, 3), 6)) == [1, 4]
    assert moved(many, 2) == 0b10100


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_the_most_frequent_values_are_those_that_counting_all_finds(limit):
    picked = random.Random(limit)
    count = 2000
    chosen = {f"v{number}": sorted(picked.sample(range(count), number * 3 + 1)) for number in range(60)}
    postings = Postings({value: packed(array(PLACES, found), count) for value, found in chosen.items()}, count)
    selected = set(picked.sample(range(count), 300))
    counted = {value: len(selected & set(found)) for value, found in chosen.items()}
    expected = sorted(((v, n) for v, n in counted.items() if n and v != "v59"), key=lambda pair: (-pair[1], pair[0]))
    found = postings.most_frequent(from_places(selected, count), limit, always=["v59"])
    assert found == [("v59", counted["v59"]), *expected[:limit]]


def test_a_gallery_comes_back_from_the_database_as_it_went():
    rows = [
        Row(number + 7, f"name\n{number} ä", None if number % 3 else number, "", "mit", ["A", f"t{number}"], ["chat"])
        for number in range(600)
    ]
    before = made(rows)
    after = decoded(encoded(before))
    assert after == before
    assert set(after.fields) == set(FIELDS)
    assert after.fields["backend"]["-"] == (1 << 600) - 1
    assert list(after.fields["tag"]["t5"]) == [5]


def test_a_gallery_without_entries_is_one_too():
    assert decoded(encoded(made([]))) == made([])
