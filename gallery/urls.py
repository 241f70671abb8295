from django.urls import path

from gallery.views import delete, entry, index, jobs

app_name = "gallery"
urlpatterns = [
    path("gallery/", index.index, name="index"),
    path("gallery/refresh/", index.refresh, name="refresh"),
    path("gallery/delete/<path:name>/", delete.delete, name="delete"),
    path("gallery/<str:gallery>/<path:name>/install/", entry.install, name="install"),
    path("gallery/<str:gallery>/<path:name>/", entry.entry, name="entry"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/<uuid:pk>/", jobs.job, name="job"),
    path("jobs/<uuid:pk>/cancel/", jobs.cancel, name="cancel"),
    path("jobs/<uuid:pk>/retry/", jobs.retry, name="retry"),
    path("jobs/<uuid:pk>/dismiss/", jobs.dismiss, name="dismiss"),
]
