"""YAML from anywhere is read within limits, as LocalAI reads it, and written so that it is read back the same."""

import random
import string
import time

import pytest
import yaml as pyyaml

from localai_admin.lib import yaml

STEPS = list(zip("abcdefghij", "bcdefghijk", strict=True))
MERGE_BOMB = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(9)) + "}\n"
MERGE_BOMB += "".join(f"{b}: &{b}\n  <<: [{', '.join([f'*{a}'] * 9)}]\n" for a, b in STEPS)
ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n"
ALIAS_BOMB += "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in STEPS)
LONG_TEXT_BOMB = "a: &a " + "x" * 100_000 + "\nb: [" + ", ".join(["*a"] * 10_000) + "]\n"
TOWER_OF_ALIASES = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40 + "\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MERGE_BOMB, "Aliases"),
        (ALIAS_BOMB, "Aliases"),
        (LONG_TEXT_BOMB, "Aliases"),
        (TOWER_OF_ALIASES, "nested"),
        ("[" * 65 + "]" * 65, "nested|nesting"),
        ("[" * 300_000, "nested|nesting"),
        ("{a: " * 300_000, "nested|nesting"),
        ("&a [*a]", "contains itself"),
        ("&a {b: {c: *a}}", "contains itself"),
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(text: str, says: str) -> None:
    began = time.process_time()
    with pytest.raises(yaml.YamlError, match=says):
        yaml.load(text)
    assert time.process_time() - began < 0.5


def test_a_text_may_not_be_longer_than_allowed() -> None:
    assert yaml.load("abc", max_bytes=3) == "abc"
    for text in ("abcd", b"abcd"):
        with pytest.raises(yaml.YamlError, match="longer than 3"):
            yaml.load(text, max_bytes=3)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert yaml.load("[" * 64 + "]" * 64)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\na: 2", 2, "already set on line 1"),
        ("x:\n  a: 1\n  b: 2\n  'a': 3", 4, "already set on line 2"),
        ("1: a\n'1': b", 2, "already set"),
        ("a: .nan", 1, "finite"),
        ("a: [1, -.inf]", 1, "finite"),
        ("a: 1e999", 1, "finite"),
        ("a: 99999999999999999999", 1, "64 bits"),
        ("a: 9" + "9" * 5000, 1, "whole number"),
        ("? [a]\n: b", 1, "key"),
        ("a: !!python/object/apply:os.system [id]", 1, "tag"),
        ("a: !thing b", 1, "tag"),
        ("a: !!binary aGk=", 1, "tag"),
        ("a: !!set {b}", 1, "tag"),
        ("a: !!map b", 1, "a map"),
        ("a: !!float b", 1, "number"),
        ("a: *b", 1, "anchor"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a:\n\t- b", 2, "token"),
        ("a: [1", 2, "Did not find"),
        ("a: \0", None, "control"),
        (b"a: 1\nb: \xff", 2, "UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str | bytes, line: int | None, says: str) -> None:
    with pytest.raises(yaml.YamlError, match=says) as caught:
        yaml.load(text)
    assert caught.value.line == line
    assert caught.value.why[0].isupper()
    assert caught.value.why.endswith(".")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("yes", "yes"),  # truth only where YAML 1.2 has it
        ("off", "off"),
        ("True", True),
        ("1:30", "1:30"),  # no numbers of base 60
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("1_000", 1000),
        ("-12", -12),
        ("1e-3", 0.001),  # a number without a point
        ("1E5", 100000.0),
        (".5", 0.5),
        ("18446744073709551615", 2**64 - 1),
        ("2026-01-01", "2026-01-01"),  # dates are text
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        ("=", "="),
        ("{1: a, true: b, 2026-01-01: c}", {"1": "a", "true": "b", "2026-01-01": "c"}),  # keys are text
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("{a: &x {b: 1}, d: {!!merge <<: *x, e: 2}}", {"a": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("{a: &x {b: 1}, y: &y {b: 2}, d: {<<: [*x, *y]}}", {"a": {"b": 1}, "y": {"b": 2}, "d": {"b": 1}}),
        ('"it\\\'s"', "it's"),  # an escape that LocalAI's reader knows
        ("\ufeffa: 1", {"a": 1}),
        (b"\xef\xbb\xbfa: \xc3\xa9", {"a": "é"}),
    ],
)
def test_values_mean_what_they_mean_to_localai(text: str | bytes, value: object) -> None:
    loaded = yaml.load(text)
    assert loaded == value
    assert type(loaded) is type(value)


def test_of_equal_keys_the_last_counts_where_that_is_wanted() -> None:
    assert yaml.load("a: 1\na: 2", duplicate_keys="last") == {"a": 2}


def test_a_key_that_a_merge_brings_along_is_no_duplicate() -> None:
    text = "d: {e: {f: &x {<<: {a: 0}, b: 1}}}\ng: {<<: *x, b: 2}\nh: {<<: *x}"
    assert yaml.load(text)["g"] == {"a": 0, "b": 2}


def test_a_duplicate_in_a_merged_map_is_still_one() -> None:
    with pytest.raises(yaml.YamlError, match="already set"):
        yaml.load("a: &x {b: 1, b: 2}\nc: {<<: *x}")


AWKWARD = [
    "yes",
    "on",
    "1e5",
    "1:30",
    "0o7",
    "2026-01-01",
    "null",
    "~",
    "",
    "=",
    "<<",
    ".nan",
    "1_0",
    "y",
    "- a",
    "#",
    "a: b",
]
BLOCKS = [
    "a\nb",
    "a\nb\n",
    "a\n\n\n",
    " a\nb",
    "\na",
    "a \nb",
    "a\tb\n",
    "a\r\nb",
    "{{ .Input }}\n<|x|>\n",
    "a\u2028b\n",
    "'\n\"",
]


@pytest.mark.parametrize("text", AWKWARD + BLOCKS)
def test_a_text_is_read_back_as_the_same_text(text: str) -> None:
    data = {"k": text, "l": [text, {text: text}]}
    assert yaml.load(yaml.dump(data)) == data
    assert pyyaml.safe_load(yaml.dump(data)) == data


def test_anything_plain_is_read_back_the_same() -> None:
    chance = random.Random(11)
    alphabet = "ab:#-{}[]&*!|>'\"%@`,?\n \t01.é\u2028\x85\r~=<" + string.ascii_letters
    for _ in range(3000):
        text = "".join(chance.choice(alphabet) for _ in range(chance.randint(0, 9)))
        data = {"k": text, text: [chance.random() * 10 ** chance.randint(-20, 20), chance.getrandbits(60), None, True]}
        assert yaml.load(yaml.dump(data)) == data


def test_what_is_written_is_easy_to_read_and_keeps_its_order() -> None:
    shared = {"x": 1}
    data = {"z": {"b": shared, "a": shared}, "t": "one\ntwo\n", "e": [], "l": ["a", "b"], "s": "yes"}
    assert yaml.dump(data) == (
        "z:\n  b:\n    x: 1\n  a:\n    x: 1\nt: |\n  one\n  two\ne: []\nl:\n- a\n- b\ns: 'yes'\n"
    )
