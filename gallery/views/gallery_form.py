"""Adding a gallery, and changing one."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from gallery.gallery_forms import GalleryForm
from gallery.models import Gallery
from gallery.services import galleries, refresh
from gallery.services.errors import JobError
from gallery.views.galleries import ORIGINS
from team.access import requires


@requires("gallery.add_gallery")
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    form = GalleryForm(request.POST or None, default_minutes=settings.GALLERY_REFRESH_MINUTES)
    if not form.is_valid():
        return _page(request, form)
    try:
        gallery = galleries.add(form.facts)
    except JobError as error:
        form.add_error("name", error.in_full)
        return _page(request, form, status=409)
    return _done(request, form, gallery)


@requires("gallery.change_gallery")
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    gallery = get_object_or_404(Gallery, pk=pk)
    form = GalleryForm(request.POST or None, gallery=gallery, default_minutes=settings.GALLERY_REFRESH_MINUTES)
    if not form.is_valid():
        return _page(request, form)
    try:
        galleries.change(gallery, form.facts)
    except JobError as error:
        form.add_error("name", error.in_full)
        return _page(request, form, status=409)
    return _done(request, form, gallery)


def _page(request: HttpRequest, form: GalleryForm, status: int = 200) -> HttpResponse:
    gallery = form.gallery
    context = {
        "section": "Gallery",
        "form": form,
        "gallery": gallery,
        "origin": ORIGINS.get(gallery.source, "") if gallery else "",
    }
    wrong = form.is_bound and not form.is_valid()
    return render(request, "gallery/gallery_form.html", context, status=422 if wrong and status == 200 else status)


def _done(request: HttpRequest, form: GalleryForm, gallery: Gallery) -> HttpResponse:
    messages.success(request, f"The gallery {gallery.name} is saved.")
    if form.cleaned_data["check"] and request.user.has_perm("gallery.refresh_gallery"):
        try:
            refresh.request_refresh(gallery, request.user)  # type: ignore[arg-type]  # nobody else comes this far
        except JobError as error:
            messages.error(request, error.in_full)
    response = redirect(reverse("gallery:galleries"))
    response.status_code = 303
    return response
