"""Rows in Django's admin that are there to be looked at."""

from django.db.models import Model
from django.http import HttpRequest


class ReadOnly:
    """No adding, changing or deleting, whoever asks: what the console writes, nobody writes by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
