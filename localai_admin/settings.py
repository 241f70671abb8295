"""Every setting of the console, with the environment variable that changes it. Runs with nothing set.

LocalAI's own variable names are used where the meaning is the same. A value that is no good stops the start with a
sentence.
"""

import ipaddress
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from localai_admin import environment as env
from localai_admin.lib import database, files

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where things are -------------------------------------------------------------------------------------------------

_USER_DATA = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
DATA = env.path("LOCALAI_ADMIN_DATA", default=_USER_DATA / "localai-admin")
MODELS_PATH = env.path("LOCALAI_MODELS_PATH", "MODELS_PATH", default=DATA / "models")
BACKENDS_PATH = env.path("LOCALAI_BACKENDS_PATH", "BACKENDS_PATH", default=DATA / "backends")
#: Looked at after BACKENDS_PATH, never written to.
SYSTEM_BACKENDS = [Path("/var/lib/local-ai/backends"), BASE_DIR / "backends"]
LOGS_PATH = DATA / "logs"
STARTER_PATH = DATA / "starter"
METRICS_PATH = DATA / "run" / "metrics"
#: Folders that file:// galleries and files may come from. What is above the data folder does not open that.
FILE_ROOTS = [Path(root).expanduser().absolute() for root in env.words("LOCALAI_ADMIN_FILE_ROOTS")] + [STARTER_PATH]
NODE = env.text("LOCALAI_ADMIN_NODE", default="local")

try:
    DATA.mkdir(mode=0o750, parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(
        f"The data folder {DATA} cannot be made: {error.strerror}. Set LOCALAI_ADMIN_DATA to a folder you can write to."
    ) from None

# --- The address, and who may call it ---------------------------------------------------------------------------------

ADDRESS = env.text("LOCALAI_ADMIN_ADDRESS", default="127.0.0.1:8000")
HOST, _, _port = ADDRESS.rpartition(":")
HOST = HOST.strip("[]") or "127.0.0.1"
try:
    PORT = int(_port)
    IS_LOCAL = HOST == "localhost" or ipaddress.ip_address(HOST).is_loopback
except ValueError:
    raise ImproperlyConfigured(
        f"LOCALAI_ADMIN_ADDRESS is {ADDRESS!r}; it takes an address and a port, such as 127.0.0.1:8000."
    ) from None

#: The names people call it by. Those of this machine always work, for whoever looks whether it is well.
_NAMED_HOSTS = env.words("LOCALAI_ADMIN_HOSTS")
ALLOWED_HOSTS = [*_NAMED_HOSTS, "localhost", "127.0.0.1", "[::1]"]
WEB_WORKERS = env.number("LOCALAI_ADMIN_WEB_WORKERS", default=1, low=1, high=64)
WEB_THREADS = env.number("LOCALAI_ADMIN_WEB_THREADS", default=8, low=2, high=128)
#: Behind a proxy that ends TLS, sets X-Forwarded-Proto, and adds who called it to X-Forwarded-For.
BEHIND_TLS = env.flag("LOCALAI_ADMIN_BEHIND_TLS")


def _secret_key() -> str:
    """The key from the environment, else the one in the data folder, made at the first start."""
    if key := env.text("LOCALAI_ADMIN_SECRET_KEY"):
        return key
    kept = DATA / "secret_key"
    try:
        key = files.made_once(kept, secrets.token_urlsafe(48), 0o600)
        files.make_private(kept)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The file {kept} cannot be kept: {error.strerror}. Set LOCALAI_ADMIN_DATA to a folder you can write to."
        ) from None
    return key


SECRET_KEY = _secret_key()
#: A public address asks for a key and host names of its own; `up` refuses without.
SECRET_KEY_IS_SET = bool(env.text("LOCALAI_ADMIN_SECRET_KEY"))
HOSTS_ARE_SET = bool(_NAMED_HOSTS) and "*" not in _NAMED_HOSTS
DEBUG = env.flag("LOCALAI_ADMIN_DEBUG")

# --- Galleries and downloads ------------------------------------------------------------------------------------------

_LOCALAI_GALLERY = {
    "name": "localai",
    "url": "https://index.localai.io/models",
    "mirrors": ["github:mudler/LocalAI/gallery/index.yaml@master"],
}
GALLERIES = env.json_list("LOCALAI_GALLERIES", "GALLERIES", default=[_LOCALAI_GALLERY])
GALLERY_REFRESH_MINUTES = env.number("LOCALAI_ADMIN_GALLERY_REFRESH_MINUTES", default=60, low=1)
GALLERY_ICONS = env.flag("LOCALAI_ADMIN_GALLERY_ICONS", default=True)
#: Hugging Face, or what stands in for it, the preferred one first: when it fails, the next is asked.
HF_ENDPOINTS = tuple(filter(None, (env.text("HF_MIRROR", "HF"), env.text("HF_ENDPOINT")))) or (
    "https://huggingface.co",
)
HF_ENDPOINT = HF_ENDPOINTS[0]
#: For these endpoints alone.
HF_TOKEN = env.text("HF_TOKEN")
#: What Hugging Face's own scan found before a download: block, warn or off.
HF_SCAN = env.choice("LOCALAI_ADMIN_HF_SCAN", of=("block", "warn", "off"), default="block")
if env.flag("LOCALAI_DISABLE_PREDOWNLOAD_SCAN"):
    HF_SCAN = "off"
#: What registries want to hear, by host: user:password, or a token.
REGISTRY_AUTH = env.json_texts("LOCALAI_ADMIN_REGISTRY_AUTH", example='{"ghcr.io": "user:password"}')
#: Models that are asked for once after each start: a JSON array, and a file with such a list in YAML or JSON.
PRELOAD_MODELS = env.text("LOCALAI_PRELOAD_MODELS", "PRELOAD_MODELS")
PRELOAD_FILE = env.text("LOCALAI_PRELOAD_MODELS_CONFIG", "PRELOAD_MODELS_CONFIG")
ALLOW_HTTP = env.flag("LOCALAI_ADMIN_ALLOW_HTTP")
#: Hosts that may have a private address, as host or host:port.
TRUSTED_HOSTS = env.words("LOCALAI_ADMIN_TRUSTED_HOSTS")
#: Never used up by a download.
DISK_RESERVE = env.number("LOCALAI_ADMIN_DISK_RESERVE", default=1 << 30)

# --- Backends ---------------------------------------------------------------------------------------------------------

BACKEND_THREADS = env.number("LOCALAI_THREADS", "THREADS", default=max(1, (os.cpu_count() or 2) // 2), low=1, high=1024)
BACKEND_CONTEXT_SIZE = env.number("LOCALAI_CONTEXT_SIZE", "CONTEXT_SIZE", default=1024, low=1)
#: How long a backend may take to answer its first Health, and to load its model. Seconds.
BACKEND_START_SECONDS = env.number("LOCALAI_ADMIN_BACKEND_START_SECONDS", default=40, low=1)
BACKEND_LOAD_SECONDS = env.number("LOCALAI_ADMIN_BACKEND_LOAD_SECONDS", default=600, low=1)
#: How long a stopping backend may finish what it does before it is killed. Seconds.
BACKEND_STOP_SECONDS = env.number("LOCALAI_ADMIN_BACKEND_STOP_SECONDS", default=10, low=1)
#: What a backend inherits of the console's environment, beside the few it always gets.
BACKEND_ENVIRONMENT = env.words("LOCALAI_ADMIN_BACKEND_ENVIRONMENT")
PROMPT_STREAMS = env.number("LOCALAI_ADMIN_PROMPT_STREAMS", default=max(1, WEB_THREADS // 2), low=1)
PROMPT_SECONDS = env.number("LOCALAI_ADMIN_PROMPT_SECONDS", default=300, low=1)

# --- Django -----------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "localai_admin",
    "team",
    "models",
    "gallery",
    "monitor",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "django_htmx",
    "django_prometheus",
    "huey.contrib.djhuey",
    "template_partials",
]

MIDDLEWARE = [
    "localai_admin.middleware.observe_duration",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "localai_admin.middleware.security_headers",
    "localai_admin.bodies.read_bodies",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "team.middleware.share_polls",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "team.middleware.end_sessions",
    "team.middleware.deny_by_default",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "localai_admin.urls"
WSGI_APPLICATION = "localai_admin.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "localai_admin.context.shell",
            ],
            "builtins": ["localai_admin.templatetags.console"],
        },
    }
]


def _database() -> dict[str, Any]:
    url = env.text("LOCALAI_ADMIN_DATABASE_URL", "DATABASE_URL")
    if not url:
        return database.sqlite(DATA / "db.sqlite3")
    try:
        return database.postgres(url)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL is no good: {error}. Write postgres://user:password@host:5432/name, "
            "or unset it for a file in the data folder."
        ) from None


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

HUEY = {
    "huey_class": "gallery.consumer.Queue",
    "name": f"localai-admin-{NODE}",
    "filename": str(DATA / "queue.sqlite3"),
    "immediate": False,
    "results": False,
    "consumer": {"workers": 4, "worker_type": "thread", "initial_delay": 0.05, "backoff": 1.15, "max_delay": 0.2},
}

try:
    # Passwords, sessions and what the worker is told: SQLite gives the files beside them the same rights.
    for _private in (DATA / "db.sqlite3", DATA / "queue.sqlite3"):
        files.make_private(_private)
except OSError as error:
    raise ImproperlyConfigured(
        f"The file {_private} cannot be kept from other users: {error.strerror}. "
        "Set LOCALAI_ADMIN_DATA to a folder that belongs to the user who runs the console."
    ) from None

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address", "username"]
#: Wrong tries within that time, in the same order: of one name from one address, from an address, of a name.
SIGN_IN_LIMITS = (10, 50, 100)
AXES_HANDLER = "team.throttling.SignInHandler"
AXES_CLIENT_IP_CALLABLE = "team.throttling.client_address"
AXES_LOCKOUT_CALLABLE = "team.throttling.locked_out"
# Whoever goes on trying does not make the pause longer for the one whose name it is.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "team:sign_in"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "team:sign_in"

#: At most so long from sign-in to sign-in, and so long without doing anything. Seconds.
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_IDLE_SECONDS = 60 * env.number("LOCALAI_ADMIN_SESSION_IDLE_MINUTES", default=12 * 60, low=5)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = BEHIND_TLS
CSRF_COOKIE_SECURE = BEHIND_TLS
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "localai_admin.errors.csrf_failure"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in _NAMED_HOSTS if host != "*"] if BEHIND_TLS else []
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if BEHIND_TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 << 20

LANGUAGE_CODE = "en"
TIME_ZONE = env.text("TZ", default="UTC")
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 3600

METRICS_ENABLED = not env.flag("LOCALAI_DISABLE_METRICS_ENDPOINT", "DISABLE_METRICS_ENDPOINT")
#: Networks that may read /metrics without signing in.
METRICS_NETWORKS = [
    ipaddress.ip_network(net) for net in env.words("LOCALAI_ADMIN_METRICS_NETWORKS", default=("127.0.0.0/8", "::1/128"))
]
PROMETHEUS_EXPORT_MIGRATIONS = False

LOG_LEVEL = env.text("LOCALAI_LOG_LEVEL", "LOG_LEVEL", default="info").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "WARN", "ERROR"}:
    raise ImproperlyConfigured(f"LOCALAI_LOG_LEVEL is {LOG_LEVEL.lower()!r}; it takes debug, info, warning or error.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "class": "localai_admin.logs.Line",
            "format": "{asctime} {levelname:<7} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": sys.stderr}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {"huey": {"level": "WARNING"}, "django.request": {"level": "ERROR"}, "axes": {"level": "WARNING"}},
}
