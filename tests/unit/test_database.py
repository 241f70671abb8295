"""The address of a database server."""

import pytest

from localai_admin.lib import database


def test_an_address_is_taken_apart():
    found = database.postgres("postgres://team:s%2Fe%40cret@db.test:5433/local%20ai")
    told = [found[key] for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")]
    assert told == ["db.test", "5433", "local ai", "team", "s/e@cret"]


def test_the_usual_port_is_not_named():
    assert database.postgres("postgresql://db.test/ai")["PORT"] == "5432"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://secret@db.test/ai", "postgres://"),
        ("sqlite:///secret.db", "postgres://"),
        ("postgres://db.test/", "one database"),
        ("postgres:///secret", "a host"),
        ("postgres://db.test/a/secret", "one database"),
        ("postgres://db.test:secret/ai", "port"),
        ("postgres://[secret/ai", "not an address"),
        ("postgres://db.test/ai?secret=1", "no options"),
    ],
)
def test_what_is_no_good_is_said_without_repeating_it(url, words):
    with pytest.raises(ValueError, match=words) as caught:
        database.postgres(url)
    assert "secret" not in str(caught.value)
