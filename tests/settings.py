"""The console's own settings, on a data folder that is made for this run and thrown away after it."""

import atexit
import os
import shutil
import tempfile

_data = tempfile.mkdtemp(prefix="localai-admin-test-")
atexit.register(shutil.rmtree, _data, ignore_errors=True)
for name in [name for name in os.environ if name.startswith(("LOCALAI_", "HF_"))]:
    del os.environ[name]
os.environ["LOCALAI_ADMIN_DATA"] = _data
os.environ["LOCALAI_ADMIN_TRUSTED_HOSTS"] = "127.0.0.1,localhost"
os.environ["LOCALAI_ADMIN_ALLOW_HTTP"] = "true"
os.environ["LOCALAI_GALLERIES"] = "[]"
os.environ["LOCALAI_ADMIN_DISK_RESERVE"] = "0"

from localai_admin.settings import *  # noqa: E402, F403

# One in the memory of each process that runs tests.
DATABASES["default"].setdefault("TEST", {})["NAME"] = ":memory:"  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
ALLOWED_HOSTS = ["*"]
AXES_ENABLED = False
# WhiteNoise warns of a folder that is not there, and a warning fails a test.
STATIC_ROOT.mkdir(exist_ok=True)  # noqa: F405
