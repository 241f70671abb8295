"""The gallery: search first, facets with counts beside it, cards."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from gallery.facets import facets
from gallery.highlight import marked
from gallery.installed import Installed, entries_here
from gallery.models import Entry, Gallery
from gallery.search import PAGE_SIZE, SORTS, Answer, Wish, answer, page_of
from gallery.services import refresh as refreshing
from gallery.services import updates
from gallery.services.errors import JobError
from localai_admin.lib import htmx
from team.access import requires

SHOWN_LABELS = 4


@requires("gallery.view_entry")
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    wish, part = Wish.read(request.GET), htmx.wants_part(request)
    galleries = list(Gallery.objects.shown())
    installed = entries_here()
    found = answer(wish, galleries, installed)
    beside = facets(found)
    context = {
        "section": "Gallery",
        "wish": wish,
        "sorts": SORTS,
        "hidden": [pair for pair in wish.parameters() if pair[0] not in ("q", "sort", "page", "exactly")],
        "galleries": galleries,
        "problems": [gallery for gallery in galleries if gallery.error],
        "setting_problems": () if part else refreshing.setting_problems(),
        "read_at": min((gallery.refreshed_at for gallery in galleries if gallery.refreshed_at), default=None),
        "never_read": not any(gallery.refreshed_at for gallery in galleries),
        "entry_count": sum(gallery.entry_count for gallery in galleries),
        "total": found.total,
        "meant": found.meant,
        "literally": wish.but(exactly="1").query_string,
        "facets": beside,
        "picked": [(facet.label, choice) for facet in beside for choice in facet.choices if choice.chosen],
        "cards": _cards(found, page_of(found, galleries), installed),
        "update_count": 0 if part else len(updates.available(installed, galleries)),
        "can_refresh": request.user.has_perm("gallery.refresh_gallery"),
        "can_install": request.user.has_perm("gallery.install_model"),
        **_pages(wish, found.total),
    }
    response = htmx.render_partial(request, "gallery/index.html", context, partial="results")
    if part:
        # The form sends its empty fields too; the address in the browser names only what was asked for.
        response.headers["HX-Replace-Url"] = reverse("gallery:index") + wish.query_string.rstrip("?")
    return response


@requires("gallery.refresh_gallery")
@require_POST
def refresh(request: HttpRequest) -> HttpResponse:
    try:
        started = refreshing.request_refresh_all(request.user)  # type: ignore[arg-type]  # nobody else comes this far
        messages.success(request, f"Reading {len(started)} {'gallery' if len(started) == 1 else 'galleries'} again.")
    except JobError as error:
        messages.error(request, error.in_full)
    return htmx.back(request, reverse("gallery:index"))


def _cards(found: Answer, entries: Sequence[Entry], installed: Installed) -> list[dict[str, Any]]:
    words = found.query.tokens
    return [
        {
            "entry": entry,
            "name": marked(entry.name, words),
            "summary": marked(entry.summary, words),
            "url": entry.get_absolute_url(),
            "install_url": reverse("gallery:install", args=[entry.gallery.name, entry.name]),
            "labels": labels(entry)[:SHOWN_LABELS],
            "icon": entry.icon if settings.GALLERY_ICONS and entry.icon.startswith("https://") else "",
            "models": installed.models_of(entry.gallery.name, entry.name),
            "job_id": entry.job_id,  # type: ignore[attr-defined]
        }
        for entry in entries
    ]


def labels(entry: Entry) -> list[str]:
    """What the model can do, in words: its use cases, then tags that say something else."""
    usecases = [str(usecase).replace("_", " ") for usecase in entry.usecases or ()]
    return usecases + [tag for tag in map(str, entry.tags or ()) if tag.lower() not in usecases]


def _pages(wish: Wish, total: int) -> dict[str, Any]:
    last = max(1, ceil(total / PAGE_SIZE))
    return {
        "last_page": last,
        "first_shown": (wish.page - 1) * PAGE_SIZE + 1,
        "last_shown": min(wish.page * PAGE_SIZE, total),
        "previous": wish.but(page=min(wish.page - 1, last)).query_string if wish.page > 1 else "",
        "next": wish.but(page=wish.page + 1).query_string if wish.page < last else "",
        "first_page": wish.but().query_string,
        "everything": Wish(sort=wish.sort).query_string,
    }
