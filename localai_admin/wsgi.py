import gc
import multiprocessing
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from localai_admin.lib.supervise import end_with

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "localai_admin.settings")
if (server := multiprocessing.parent_process()) and server.pid:
    end_with(server.pid)
application = get_wsgi_application()
# What is loaded by now stays: looking through all of it for garbage held up a page now and then for 70 ms.
get_resolver().url_patterns  # noqa: B018  (loads every view)
gc.collect()
gc.freeze()
