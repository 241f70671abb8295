from django.http import HttpRequest, HttpResponse
from django.urls import path

from localai_admin.urls import handler403, handler500
from localai_admin.urls import urlpatterns as real
from team.access import public


def forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("seen")


@public
def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret of the inside")


urlpatterns = [*real, path("forgotten/", forgotten), path("broken/", broken)]
__all__ = ["handler403", "handler500", "urlpatterns"]
