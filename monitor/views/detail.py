"""One model's backend: its state and figures, charts with its events, its log, and a prompt."""

from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from localai_admin.lib import htmx
from localai_admin.lib.freshness import mark
from models.models import Instance
from models.standing import standing
from models.states import MOVING, State
from monitor.models import Sample
from monitor.prompts import MAX_BYTES, answers_text, uses_of
from monitor.series import charts
from monitor.views.log import log_context
from monitor.views.subject import Subject, find
from team.access import requires

_TEMPLATE = "monitor/detail.html"


@requires("monitor.view_sample")
@require_GET
def detail(request: HttpRequest, name: str) -> HttpResponse:
    polls = htmx.wants_part(request)
    if polls and request.GET.get("since") == _mark(name):
        return htmx.unchanged()
    subject = find(name)
    if subject.name != name:
        return redirect("monitor:detail", subject.name)
    if polls:
        return render(request, f"{_TEMPLATE}#live", _live(subject))
    return detail_page(request, subject)


def detail_page(request: HttpRequest, subject: Subject, status: int = 200, **prompt: Any) -> HttpResponse:
    """The whole page. `prompt` is what was typed, and the answer or the refusal that came of it."""
    context = {
        "section": "Monitor",
        "takes_prompts": subject.config is not None and answers_text(subject.config),
        "uses": uses_of(subject.config),
        "prompt_limit": MAX_BYTES,
        **_live(subject),
        **prompt,
    }
    if request.user.has_perm("models.view_log"):
        context |= log_context(subject)
    return render(request, _TEMPLATE, context, status=status)


def _live(subject: Subject) -> dict[str, Any]:
    how = standing(subject.instance)
    return {
        "name": subject.name,
        "instance": subject.instance,
        "config": subject.config,
        "standing": how,
        "charts": charts(subject.instance),
        "mark": _mark(subject.name),
        "live": 2 if how.moving else 5 if subject.instance and subject.instance.is_ready else 10,
    }


def _mark(name: str) -> str:
    """What changes when the live part would: one query."""
    latest = Sample.objects.filter(instance=OuterRef("pk")).order_by("-at").values("at")[:1]
    found = (
        Instance.objects.on_this_node()
        .filter(name=name)
        .annotate(sampled_at=Subquery(latest))
        .values_list("state", "state_since", "desired_at", "last_used_at", "sampled_at")
        .first()
    )
    return mark(*(found or ()), moving=found is not None and State(found[0]) in MOVING)
