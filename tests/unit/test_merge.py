"""Overrides are laid on a configuration as LocalAI lays them."""

import copy
from typing import Any

import pytest

from models.configs import merge

CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("nothing on nothing is nothing", {}, {}, {}),
    ("a key only in the base survives", {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ("maps are merged key by key", {"p": {"a": 1, "b": 2}}, {"p": {"b": 3}}, {"p": {"a": 1, "b": 3}}),
    ("at every depth", {"p": {"q": {"a": 1}}}, {"p": {"q": {"b": 2}}}, {"p": {"q": {"a": 1, "b": 2}}}),
    ("an empty map changes nothing in a map", {"p": {"a": 1}}, {"p": {}}, {"p": {"a": 1}}),
    ("false replaces true", {"a": True}, {"a": False}, {"a": False}),
    ("zero replaces a number", {"a": 5}, {"a": 0}, {"a": 0}),
    ("an empty text replaces a text", {"a": "x"}, {"a": ""}, {"a": ""}),
    ("null sets the key to null", {"a": {"b": 1}}, {"a": None}, {"a": None}),
    ("null of the base gives way", {"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ("a list is replaced, never appended to", {"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ("also by an empty list", {"a": [1, 2]}, {"a": []}, {"a": []}),
    ("maps in a list are not merged", {"a": [{"x": 1}]}, {"a": [{"y": 2}]}, {"a": [{"y": 2}]}),
    ("a map replaces a scalar", {"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ("a scalar replaces a map", {"a": {"b": 1}}, {"a": 1}, {"a": 1}),
    ("a list replaces a map", {"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
    ("the name of the overrides wins", {"name": "chosen"}, {"name": "theirs"}, {"name": "theirs"}),
]


@pytest.mark.parametrize(("base", "over", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_merge_follows_the_rules(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge(base, over) == expected


@pytest.mark.parametrize(("base", "over"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_merging_the_same_again_changes_nothing(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = merge(base, over)
    assert merge(once, over) == once


@pytest.mark.parametrize(("base", "over"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_the_arguments_stay_as_they_were(base: dict[str, Any], over: dict[str, Any]) -> None:
    before = copy.deepcopy((base, over))
    merge(base, over)
    assert (base, over) == before


def test_the_result_shares_nothing_with_the_arguments() -> None:
    base: dict[str, Any] = {"kept": {"a": [1]}}
    over: dict[str, Any] = {"new": {"b": [{"c": 2}]}}
    result = merge(base, over)
    result["kept"]["a"].append(9)
    result["new"]["b"][0]["c"] = 9
    assert base == {"kept": {"a": [1]}}
    assert over == {"new": {"b": [{"c": 2}]}}
