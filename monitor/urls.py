from django.urls import path

from monitor.views.detail import detail
from monitor.views.index import index
from monitor.views.log import log
from monitor.views.prompt import prompt
from monitor.views.status import status

app_name = "monitor"
urlpatterns = [
    path("", index, name="index"),
    path("<path:name>/prompt/", prompt, name="prompt"),
    path("<path:name>/log/", log, name="log"),
    path("<path:name>/status/", status, name="status"),
    path("<path:name>/", detail, name="detail"),
]
