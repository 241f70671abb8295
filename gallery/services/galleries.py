"""What people do to galleries: add one, change it, put it elsewhere in the order, switch it off, remove it."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from gallery.models import Entry, Gallery, Revision
from gallery.services import jobs
from gallery.services.errors import GalleryTaken
from gallery.services.refresh import after_move, next_position
from gallery.states import Kind

_BATCH = 500


def add(facts: Mapping[str, Any]) -> Gallery:
    """A new gallery, behind all others. `facts` are fields of Gallery. Raises GalleryTaken."""
    try:
        with transaction.atomic():
            return Gallery.objects.create(source=Gallery.CONSOLE, position=next_position(), **facts)
    except IntegrityError:
        raise _taken(facts["name"]) from None


def change(gallery: Gallery, facts: Mapping[str, Any]) -> Gallery:
    """Write what a person changed. Models that came from it are known by its new name. Raises GalleryTaken.

    With another address the copy that is here is shown until there is a better one, but the new address is asked as
    if for the first time.
    """
    moved = after_move(gallery, facts.get("url", gallery.url))
    try:
        with transaction.atomic():
            Gallery.objects.filter(pk=gallery.pk).update(**{**moved, **facts})
            name = facts.get("name", gallery.name)
            if name != gallery.name:
                Revision.objects.filter(gallery=gallery.name).update(gallery=name)
    except IntegrityError:
        raise _taken(facts["name"]) from None
    gallery.refresh_from_db()
    return gallery


def switch(gallery: Gallery, enabled: bool) -> None:
    """Show its entries or not; what was read is kept either way."""
    Gallery.objects.filter(pk=gallery.pk).update(enabled=enabled)


def move(gallery: Gallery, by: int) -> None:
    """Change places with the one before it (-1) or behind it (1); at the end of the order nothing happens."""
    with transaction.atomic():
        order = list(Gallery.objects.order_by("position", "name"))
        place = next((number for number, other in enumerate(order) if other.pk == gallery.pk), None)
        if place is None or not 0 <= place + by < len(order):
            return
        order[place], order[place + by] = order[place + by], order[place]
        for number, other in enumerate(order, start=1):
            Gallery.objects.filter(pk=other.pk).exclude(position=number).update(position=number)


def remove(gallery: Gallery, by: AbstractBaseUser | None) -> int:
    """Forget the gallery and its entries; returns how many these were. Installed models stay as they are."""
    running = jobs.active(Kind.REFRESH, gallery.name)
    if running is not None:
        jobs.request_cancel(running, by)
    entries = Entry.objects.filter(gallery=gallery)
    with transaction.atomic():
        count = entries.count()
        while some := list(entries.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
            Entry.objects.filter(pk__in=some).delete()
        gallery.delete()
    return count


def _taken(name: str) -> GalleryTaken:
    return GalleryTaken(f"There is a gallery called {name} already.", "Choose another name, or edit that one.")
