"""How the console opens its SQLite files."""

from pathlib import Path
from typing import Any


def sqlite(path: Path) -> dict[str, Any]:
    """Django's settings for an SQLite file with readers that never wait for the writer.

    Transactions take the write lock when they begin, so that two of them wait for each other instead of failing.
    """
    return {
        "ENGINE": "django_prometheus.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8000;",
        },
    }
