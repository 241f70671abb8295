"""Whom a row names."""

from django.contrib.auth.models import AbstractBaseUser


def name_of(by: AbstractBaseUser | None) -> str:
    """The name a person signs in with; empty for the console itself."""
    return by.get_username() if by else ""
