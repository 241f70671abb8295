"""What a person can wish of a model: that it runs, that it does not."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from localai_admin.lib import htmx
from models import services
from team.access import requires


@requires("models.load_model")
@require_POST
def load(request: HttpRequest, name: str) -> HttpResponse:
    try:
        services.request_load(name, request.user)
    except services.ModelUnknown as error:
        messages.error(request, str(error))
        return htmx.back(request, reverse("models:index"))
    return htmx.back(request, reverse("models:detail", args=[name]))


@requires("models.stop_model")
@require_POST
def stop(request: HttpRequest, name: str) -> HttpResponse:
    try:
        services.request_stop(name, request.user)
    except services.ModelUnknown as error:
        messages.error(request, str(error))
        return htmx.back(request, reverse("models:index"))
    return htmx.back(request, reverse("models:detail", args=[name]))
