"""Headers of a private gallery, as people write them."""

import pytest

from gallery.catalog.request_headers import BadHeaders, read_headers


def test_names_and_values_are_read_a_line_each() -> None:
    text = "Authorization: Bearer a:b\n\n X-Team :vision \n"
    assert read_headers(text) == {"Authorization": "Bearer a:b", "X-Team": "vision"}


def test_of_two_with_one_name_the_last_one_counts() -> None:
    assert read_headers("x-key: a\nX-Key: b") == {"X-Key": "b"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("s3cr3t", "is no header"),
        (": s3cr3t", "is no header"),
        ("a b: s3cr3t", "is no header"),
        ("Host: s3cr3t", "sets Host"),
        ("Range: s3cr3t", "sets Range"),
        ("X-Key:", "no value"),
        ("X-Key: s3cr3t\x07", "no header can have"),
        ("X-Key: s3cr3té", "no header can have"),
        ("X-Key: s3cr3t" + "x" * 5000, "no header can have"),
    ],
)
def test_what_is_no_header_is_named_by_its_line_and_not_repeated(line: str, words: str) -> None:
    with pytest.raises(BadHeaders) as error:
        read_headers(f"X-Good: 1\n{line}")
    assert words in str(error.value)
    assert str(error.value).startswith("Line 2 ")
    assert "s3cr3t" not in str(error.value)


def test_there_is_a_most() -> None:
    with pytest.raises(BadHeaders, match="21 headers"):
        read_headers("\n".join(f"X-{n}: 1" for n in range(21)))
