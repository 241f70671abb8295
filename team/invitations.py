"""The one-time link that makes the first administrator: signed, good for a day, and only while nobody is there."""

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.core import signing

_SALT = "team.first-administrator"
GOOD_FOR = timedelta(days=1)


def somebody_is_here() -> bool:
    return get_user_model().objects.exists()


def make_token() -> str:
    return signing.TimestampSigner(salt=_SALT).sign("administrator")


def is_good(token: str) -> bool:
    """True while the token is ours, not older than a day, and the first person has not come yet."""
    try:
        signing.TimestampSigner(salt=_SALT).unsign(token, max_age=GOOD_FOR)
    except signing.BadSignature:
        return False
    return not somebody_is_here()
