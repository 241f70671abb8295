"""Deleting a model: first what would go and what would stay, then the job that does it."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from gallery.services import deletions, kept
from gallery.services.errors import JobError
from models import inventory
from models.deletion import DeletionPreview, NoSuchModel
from models.models import Instance
from team.access import requires


@requires("gallery.delete_model")
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, name: str) -> HttpResponse:
    try:
        preview = inventory.deletion_preview(name)
    except NoSuchModel as error:
        raise Http404(str(error)) from error
    if request.method != "POST":
        return _page(request, preview)
    try:
        job = deletions.request_delete(name, request.user)  # type: ignore[arg-type]  # nobody else comes this far
    except JobError as error:
        messages.error(request, error.in_full)
        return _page(request, preview, status=409)
    response = redirect(job)
    response.status_code = 303
    return response


def _page(request: HttpRequest, preview: DeletionPreview, status: int = 200) -> HttpResponse:
    instance = Instance.objects.on_this_node().alive().filter(name=preview.name).first()
    context = {"section": "Models", "name": preview.name, "preview": preview, "instance": instance}
    context["kept_bytes"] = kept.bytes_kept(preview.name)
    return render(request, "gallery/delete.html", context, status=status)
