import multiprocessing
import os

from django.core.wsgi import get_wsgi_application

from localai_admin.lib.supervise import end_with

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "localai_admin.settings")
if (server := multiprocessing.parent_process()) and server.pid:
    end_with(server.pid)
application = get_wsgi_application()
