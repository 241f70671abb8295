from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from localai_admin import environment as env


def test_the_first_name_that_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_NAME", "old")
    assert env.text("NEW_NAME", "OLD_NAME") == "old"
    monkeypatch.setenv("NEW_NAME", "new")
    assert env.text("NEW_NAME", "OLD_NAME") == "new"


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("1", True), ("No", False), ("off", False), ("", True)]
)
def test_flags_take_the_usual_words(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("FLAG", value)
    assert env.flag("FLAG", default=True) is expected


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        (lambda: env.flag("NAME"), "perhaps", "NAME is 'perhaps'; it takes true or false."),
        (lambda: env.number("NAME", default=1), "many", "NAME is 'many'; it takes a whole number."),
        (lambda: env.number("NAME", default=1, low=1, high=9), "10", "NAME is 10; it must be from 1 to 9."),
        (lambda: env.json_list("NAME", default=[]), "{", "NAME is not JSON"),
        (lambda: env.json_list("NAME", default=[]), "{}", "NAME must be a JSON list"),
        (lambda: env.choice("NAME", of=("a", "b", "c"), default="a"), "d", "NAME is 'd'; it takes a, b or c."),
        (lambda: env.json_texts("NAME", example="{}"), "[]", "NAME must be a JSON map of texts, such as {}"),
        (lambda: env.json_texts("NAME", example="{}"), '{"a": 1}', "NAME must be a JSON map of texts"),
    ],
)
def test_a_value_that_is_no_good_names_the_variable(monkeypatch: pytest.MonkeyPatch, read, value, sentence) -> None:
    monkeypatch.setenv("NAME", value)
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    assert sentence in str(caught.value)


def test_lists_and_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", " a, b ,,c ")
    assert env.words("NAME") == ["a", "b", "c"]
    monkeypatch.setenv("NAME", "~/models")
    assert env.path("NAME", default=Path("/x")) == Path.home() / "models"


def test_a_map_of_secrets_is_not_quoted_when_it_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", '{"ghcr.io": "me:secret"')
    with pytest.raises(ImproperlyConfigured) as caught:
        env.json_texts("NAME", example="{}")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("NAME", '{"ghcr.io": "me:secret"}')
    assert env.json_texts("NAME", example="{}") == {"ghcr.io": "me:secret"}
    monkeypatch.delenv("NAME")
    assert env.json_texts("NAME", example="{}") == {}
    assert env.choice("NAME", of=("a", "b"), default="b") == "b"
