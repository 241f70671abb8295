"""One model: what it is doing, what its configuration says, which files it uses and who shares them, what happened."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from localai_admin.lib import htmx
from localai_admin.lib.freshness import mark
from models import inventory, secrets
from models.configs import render as yaml_text
from models.deletion import NoSuchModel
from models.inventory import ModelRow
from models.models import Instance
from models.standing import standing
from team.access import requires

EVENTS_SHOWN = 30
_TEMPLATE = "models/detail.html"


@requires("models.view_instance")
@require_GET
def detail(request: HttpRequest, name: str) -> HttpResponse:
    instance = Instance.objects.on_this_node().filter(name=name).first()
    polls = htmx.wants_part(request)
    if polls and request.GET.get("since") == _mark(instance):
        return htmx.unchanged()
    model = inventory.model_row(name)
    if model is None and instance is None:
        raise Http404
    context = _live(name, instance, model)
    if polls:
        return render(request, f"{_TEMPLATE}#live", {**context, "polled": True})
    return render(request, _TEMPLATE, {"section": "Models", **context, **_from_disk(name, model)})


def _live(name: str, instance: Instance | None, model: ModelRow | None) -> dict[str, Any]:
    how = standing(instance)
    return {
        "name": name,
        "instance": instance,
        "model": model,
        "standing": how,
        "events": list(instance.events.all()[:EVENTS_SHOWN]) if instance else [],
        "mark": _mark(instance),
        "live": 2 if how.moving else 8,
    }


def _from_disk(name: str, model: ModelRow | None) -> dict[str, Any]:
    """What changes only when somebody edits the models folder: not part of what is polled."""
    if model is None:
        return {}
    shared = _shared(name)
    return {
        "files": [(file, shared.get(file.name, [])) for file in model.files],
        "uses": [usecase.replace("_", " ") for usecase in model.usecases],
        "yaml": yaml_text(secrets.masked(model.config.data)) if model.config else "",
    }


def _shared(name: str) -> dict[str, list[str]]:
    """For each file that others use, too, their names."""
    try:
        return dict(inventory.deletion_preview(name).shared)
    except NoSuchModel:
        return {}


def _mark(instance: Instance | None) -> str:
    if instance is None:
        return mark()
    return mark(
        instance.state, instance.state_since, instance.desired_at, instance.last_used_at, moving=instance.is_moving
    )
