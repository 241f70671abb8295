"""What was typed, as words to search; and the nearest word of one that is nowhere."""

import pytest

from gallery.searching.query import MAX_WORDS, compact, parse, searchable
from gallery.searching.spelling import MAX_WORDS as MOST
from gallery.searching.spelling import Vocabulary, edits


def written(q: str) -> list[list[str]]:
    """Each group's alternatives; + between phrases, * behind what may go on."""
    return [
        [
            " + ".join(" ".join(phrase.tokens) + "*" * phrase.prefix for phrase in alternative)
            for alternative in group.alternatives
        ]
        for group in parse(q).groups
    ]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("mistral", [["mistral*"]]),
        ("code-llama", [["code*"], ["llama*"]]),
        # A word and the figure after it are written as one as often as not.
        ("qwen3", [["qwen3*", "qwen 3*"]]),
        ("qwen 3", [["qwen* + 3*", "qwen3*"]]),
        ("qwen 3 4b", [["qwen* + 3", "qwen3*"], ["4b*"]]),
        # A version is one thing.
        ("2.5", [["2 5*"]]),
        # One letter in the middle means itself.
        ("a model", [["a"], ["model*"]]),
        ("模型", [["模 型*"]]),
        ("", []),
        ("--- !", []),
    ],
)
def test_words_become_what_has_to_be_there(q, expected):
    assert written(q) == expected


def test_a_long_text_is_cut():
    assert len(parse("word " * 1000).groups) == MAX_WORDS


def test_signs_of_a_script_without_spaces_are_words_of_their_own():
    assert searchable("Qwen模型").split() == ["qwen", "模", "型"]


def test_names_are_compared_without_what_stands_between():
    assert compact("Qwen3-4B_it.GGUF") == parse("qwen 3 4b it gguf").compact == "qwen34bitgguf"


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [
        ("mistral", "mistral", 0),
        ("mistal", "mistral", 1),
        ("mitsral", "mistral", 1),
        ("mstrl", "mistral", 2),
        ("a", "abcd", None),
    ],
)
def test_a_slip_is_a_letter_more_less_other_or_swapped(left, right, distance):
    assert edits(left, right, 2) == edits(right, left, 2) == distance


def test_the_most_frequent_of_the_nearest_words_is_meant():
    known = Vocabulary({"mistrel": 1, "mistral": 9, "minstrel": 20})
    assert known.nearest("mistrl", unfinished=False) == "mistral"


def test_a_word_that_is_still_being_typed_is_compared_with_beginnings():
    known = Vocabulary({"mistral": 1})
    assert known.nearest("misrt", unfinished=True) == "mistral"
    assert known.nearest("misrt", unfinished=False) is None


def test_words_come_back_from_the_database_as_they_went():
    known = Vocabulary()
    known.add("Mistral, mistral and Zephyr; the cat")
    again = Vocabulary.load(known.dump())
    assert again.nearest("mistrall", unfinished=False) == "mistral"
    assert again.dump() == "mistral 2\nzephyr 1"


def test_a_gallery_of_nonsense_keeps_so_many_words_and_the_frequent_ones():
    known = Vocabulary()
    for _ in range(3):
        known.add("mistral")
    for start in range(0, 5 * MOST, 1000):
        known.add(" ".join(f"word{number:07}" for number in range(start, start + 1000)))
    assert len(known.dump().splitlines()) == MOST
    assert known.nearest("mistal", unfinished=False) == "mistral"
