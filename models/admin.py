"""Instances and their events in Django's admin: to look at, never to change."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from models.models import Instance, InstanceEvent


class _ReadOnly:
    """What the agent writes, nobody writes by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EventInline(_ReadOnly, admin.TabularInline):
    """The events of an instance, newest first."""

    model = InstanceEvent
    fields = ["at", "by", "from_state", "to_state", "why"]
    ordering = ["-at", "-pk"]
    extra = 0


@admin.register(Instance)
class InstanceAdmin(_ReadOnly, admin.ModelAdmin):
    list_display = ["name", "node", "backend", "desired", "state", "state_since", "reason"]
    list_filter = ["node", "state", "desired"]
    search_fields = ["name", "backend"]
    inlines = [EventInline]
