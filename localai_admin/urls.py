from django.contrib import admin
from django.urls import include, path

from localai_admin import health, overview

# The way back is in the header, by its own name (templates/admin/base_site.html).
admin.site.site_url = None
admin.site.index_title = "People and history"

urlpatterns = [
    path("", overview.index, name="overview"),
    path("strip/", overview.strip, name="strip"),
    path("starter/", overview.starter, name="starter"),
    path("", include("team.urls")),
    path("models/", include("models.urls")),
    path("monitor/", include("monitor.urls")),
    path("", include("gallery.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("django-admin/", admin.site.urls),
]

handler400 = "localai_admin.errors.bad_request"
handler403 = "localai_admin.errors.forbidden"
handler404 = "localai_admin.errors.not_found"
handler500 = "localai_admin.errors.broken"
