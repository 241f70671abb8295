"""Instances and their events in Django's admin: to look at, never to change."""

from django.contrib import admin

from models.models import Instance, InstanceEvent
from team.readonly import ReadOnly


class EventInline(ReadOnly, admin.TabularInline):
    """The events of an instance, newest first."""

    model = InstanceEvent
    fields = ["at", "by", "from_state", "to_state", "why"]
    ordering = ["-at", "-pk"]
    extra = 0


@admin.register(Instance)
class InstanceAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["name", "node", "backend", "desired", "state", "state_since", "reason"]
    list_filter = ["node", "state", "desired"]
    search_fields = ["name", "backend"]
    inlines = [EventInline]
