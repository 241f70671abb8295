"""How the console opens its database: an SQLite file of its own, or a PostgreSQL server."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


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


def postgres(url: str) -> dict[str, Any]:
    """Django's settings for `postgres://user:password@host:port/name`; signs in user and password are %-escaped.

    Raises ValueError with a sentence that does not repeat the address: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is not an address, or its port is not a number up to 65535") from None
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("it has to begin with postgres://; other databases are not known")
    name = unquote(parts.path.lstrip("/"))
    if not parts.hostname or not name or "/" in name:
        raise ValueError("it has to name a host and one database")
    if parts.query or parts.fragment:
        raise ValueError("it takes no options behind the name of the database")
    return {
        "ENGINE": "django_prometheus.db.backends.postgresql",
        "HOST": parts.hostname,
        "PORT": str(port or 5432),
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 10},
    }
