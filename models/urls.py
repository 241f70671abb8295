from django.urls import path

from models.views.actions import load, stop
from models.views.detail import detail
from models.views.index import index

app_name = "models"
urlpatterns = [
    path("", index, name="index"),
    path("<path:name>/load/", load, name="load"),
    path("<path:name>/stop/", stop, name="stop"),
    path("<path:name>/", detail, name="detail"),
]
