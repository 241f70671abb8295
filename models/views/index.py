"""What is here? Every model of the folder, what it is doing, and what can be done with it."""

from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from localai_admin.lib import htmx
from localai_admin.lib.freshness import mark
from models import inventory, table
from models.models import Instance
from models.states import MOVING, State
from team.access import requires

#: Loose files beyond these are counted, not listed.
LOOSE_SHOWN = 200


@requires("models.view_instance")
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    wish = table.Wish.read(request.GET)
    now = _mark()
    if request.htmx and request.GET.get("since") == now:  # type: ignore[attr-defined]
        return htmx.unchanged()
    response = htmx.render_partial(request, "models/index.html", {"mark": now, **_page(wish)}, partial="live")
    if htmx.wants_part(request) and "since" not in request.GET:
        # What was typed, not a poll: the address follows, so that a reload and the way back show the same.
        response.headers["HX-Replace-Url"] = reverse("models:index") + wish.query_string.rstrip("?")
    return response


def _page(wish: table.Wish) -> dict[str, Any]:
    """One query, whatever the number of models."""
    everything = inventory.inventory()
    found = table.rows(model for model in everything if not model.is_loose)
    loose = [model for model in everything if model.is_loose]
    page = Paginator(table.arrange(found, wish), table.PAGE_SIZE).get_page(wish.page)
    return {
        "section": "Models",
        "wish": wish,
        "page": page,
        "previous_url": wish.on_page(page.number - 1) if page.has_previous() else "",
        "next_url": wish.on_page(page.number + 1) if page.has_next() else "",
        "total": len(found),
        "ready": sum(row.standing.state == State.READY for row in found),
        "size": sum(model.size or 0 for model in everything),
        "choices": table.choices(found),
        "sorts": [(key, words) for key, (words, _) in table.SORTS.items()],
        "loose": loose[:LOOSE_SHOWN],
        "loose_count": len(loose),
        "problems": inventory.problems(),
        "live": 2 if any(row.standing.moving for row in found) else 8,
    }


def _mark() -> str:
    """What changes when the page would: one query, and one look at the folder."""
    changes = Instance.objects.on_this_node().aggregate(
        Max("state_since"),
        Max("desired_at"),
        Max("last_used_at"),
        Count("pk"),
        moving=Count("pk", filter=Q(state__in=MOVING)),
    )
    return mark(_folder_changed(), *changes.values(), moving=changes["moving"] > 0)


def _folder_changed() -> int:
    try:
        return settings.MODELS_PATH.stat().st_mtime_ns
    except OSError:
        return 0
