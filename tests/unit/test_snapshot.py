"""The places of entries, from their keys and from the beginning of their names."""

import random
from array import array

import pytest

from gallery.models import Gallery
from gallery.searching import part as parts
from gallery.searching.members import places
from gallery.searching.part import Row
from gallery.searching.query import compact
from gallery.searching.snapshot import Matches, Snapshot

PICKED = random.Random(5)


def snapshot(*galleries: list[tuple[int, str]]) -> Snapshot:
    """From keys and names; each part as it comes back from the database."""
    made = (parts.made(Row(pk, name, None, "", "", (), ()) for pk, name in rows) for rows in galleries)
    kept = [parts.decoded(parts.encoded(part)) for part in made]
    return Snapshot([(Gallery(pk=number, name=f"g{number}"), part) for number, part in enumerate(kept)])


KEYS = {
    "one after the other": [range(100, 400), range(400, 900)],
    "galleries in another order": [range(700, 900), range(1, 500)],
    "with holes": [[pk for pk in range(1, 900) if pk % 7], [1000]],
    "in no order": [PICKED.sample(range(1, 1500), 700)],
    "far apart": [range(1, 50), range(10**9, 10**9 + 50)],
    "none": [[]],
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_places_of_keys_are_those_of_their_entries(keys, share):
    entries = snapshot(*([(pk, f"m{pk}") for pk in gallery] for gallery in keys))
    everything = [pk for gallery in keys for pk in gallery]
    asked = [pk for pk in everything if PICKED.random() < share]
    # Keys of galleries that are not shown are below, between and above.
    strangers = [-3, 0, 950, 10**10]
    strangers = [pk for pk in strangers if pk not in everything]
    found = list(places(entries.with_pks([*strangers, *asked]), entries.count))
    assert found == [place for place, pk in enumerate(everything) if pk in set(asked)]


NAMES = ["qwen3-4b", "Qwen3", "phi", "qwen-3.5", "qwe", "qwen3", "a-qwen3", "QWEN_3", "", "qx", "zz"]


@pytest.mark.parametrize("start", ["q", "qwen3", "phi", "z", "0", "zzz", "qwen34bx"])
def test_names_that_begin_so_are_found_whole_ones_first(start):
    both = NAMES, NAMES[::-1]
    entries = snapshot(
        *([(10 * number + place, name) for place, name in enumerate(names)] for number, names in enumerate(both))
    )
    names = [compact(name) for part in both for name in part]
    whole = [place for place, name in enumerate(names) if name == start]
    longer = [place for place, name in enumerate(names) if name.startswith(start) and name != start]
    assert list(entries.beginning_with(start)) == whole + longer


def test_a_page_has_the_best_then_the_named_then_the_rest():
    entries = snapshot([(pk, f"m{pk}") for pk in range(10)])
    # The best and the named may say more than matches.
    matches = Matches(0b11_1111_0110, array("I", [8, 0, 1]), 0b00_0100_1011)
    whole = [8, 1, 6, 2, 4, 5, 7, 9]
    assert entries.page(matches, 0, 20) == whole
    assert [entries.page(matches, start, 3) for start in (0, 3, 6, 9)] == [whole[:3], whole[3:6], whole[6:], []]
