from django.http import HttpRequest, HttpResponse
from django.urls import path

from localai_admin.urls import handler403
from localai_admin.urls import urlpatterns as real


def forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("seen")


urlpatterns = [*real, path("forgotten/", forgotten)]
__all__ = ["handler403", "urlpatterns"]
