"""What LOCALAI_GALLERIES may say, and the sentence for what it may not."""

import pytest

from gallery.catalog.configured import Wanted, read

GOOD = {"name": "good", "url": "https://good.test/index.yaml"}


def test_what_is_good_is_kept_in_order_and_trimmed() -> None:
    other = {"name": " other ", "url": " file:///x.yaml ", "mirrors": [" https://mirror.test "], "unknown": 1}
    good, problems = read([GOOD, other])
    assert good == [
        Wanted("good", "https://good.test/index.yaml", (), 1),
        Wanted("other", "file:///x.yaml", ("https://mirror.test",), 2),
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("text", "has 'text'; each gallery must be a map with name and url."),
        (None, "has 'None'; each gallery must be a map"),
        ({"name": "x"}, "has {'name': 'x'}, which has no url; add one."),
        ({"name": "x", "url": 1}, "which has no url; add one."),
        ({"url": "https://x.test"}, "which has no name; add one."),
        ({"name": "starter", "url": "https://x.test"}, "which is the console's own; choose another name."),
        # A name is a part of addresses and of an entry's full name.
        *(
            ({"name": name, "url": "https://x.test"}, "is no name for one")
            for name in ("a/b", "a@b", "..", "a\nb", "?")
        ),
        ({"name": "x" * 101, "url": "https://x.test"}, "at most 100 characters"),
        ({"name": "x", "url": "https://x.test", "mirrors": "https://y.test"}, "mirrors of x that are no list"),
        ({"name": "x", "url": "https://x.test", "mirrors": [1]}, "mirrors of x that are no list"),
        ({"name": "x", "url": "http://[bad"}, "the address 'http://[bad' of x, which is none"),
        ({"name": "x", "url": "https://x.test", "mirrors": ["http://[bad"]}, "the address 'http://[bad' of x"),
        (GOOD, "has two galleries called good; the first one is used. Rename or remove the second one."),
    ],
)
def test_what_is_no_good_is_named_and_the_others_are_used(item: object, sentence: str) -> None:
    good, [problem] = read([GOOD, item])
    assert [wanted.name for wanted in good] == ["good"]
    assert problem.startswith("LOCALAI_GALLERIES has ")
    assert sentence in problem
