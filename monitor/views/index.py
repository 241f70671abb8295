"""What does it cost? This host, then every backend with its share."""

from typing import Any

from django.conf import settings
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from localai_admin.lib import htmx
from localai_admin.lib.freshness import mark
from models.models import Instance
from monitor.models import HostSample
from monitor.overview import host, with_usage
from team.access import requires


@requires("monitor.view_sample")
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    now = _mark()
    if request.htmx and request.GET.get("since") == now:  # type: ignore[attr-defined]
        return htmx.unchanged()
    context = {"section": "Monitor", "mark": now, **_figures()}
    return htmx.render_partial(request, "monitor/index.html", context, partial="live")


def _figures() -> dict[str, Any]:
    """Three queries, however many backends there are."""
    this_host = host()
    rows = with_usage(Instance.objects.on_this_node().in_use())
    return {
        "host": this_host,
        "rows": [(row, row.share_of(this_host.latest.memory_total) if this_host else None) for row in rows],
        "live": 2 if any(row.standing.moving for row in rows) else 8,
    }


def _mark() -> str:
    """What changes when the page would: two looks into indexes, no rows."""
    instances = Instance.objects.on_this_node()
    changes = instances.aggregate(Max("state_since"), Max("desired_at"), Count("pk"))
    sampled = HostSample.objects.filter(node=settings.NODE).aggregate(Max("at"))
    return mark(*changes.values(), *sampled.values(), moving=instances.moving().exists())
