"""Settings of the installation. Experiments are set in recipes (`ml/recipes.py`), never here."""

from typing import Any

import environ
from django.templatetags.static import static
from django.urls import reverse_lazy

from config import environment

ENV, STATE_DIR = environment.load()
SOCKET_DIR = environment.socket_dir(STATE_DIR)

# --- where things are -------------------------------------------------------------------------------------------------
DATA_DIR = STATE_DIR / "data"  # write-once files; the rows say which (catalog/files.py)
VIEWS_DIR = DATA_DIR / "views"  # Label Studio's document root: views and nothing else
LOG_DIR = STATE_DIR / "logs"
NO_PROXY_NOTE = (
    STATE_DIR / "no-proxy.txt"
)  # there when nothing stands between people and Label Studio (config/proxy.py)

HOST = ENV.text("BURNISH_HOST", "127.0.0.1")
PORT = ENV.port("BURNISH_PORT", 8000)
LABEL_STUDIO_PORT = ENV.port("BURNISH_LABEL_STUDIO_PORT", 8080)
LABEL_STUDIO_INTERNAL_PORT = ENV.port("BURNISH_LABEL_STUDIO_INTERNAL_PORT", 8081)
PUBLIC_URL = ENV.url("BURNISH_PUBLIC_URL", f"http://{HOST}:{PORT}", schemes=("http", "https"))
LABEL_STUDIO_URL = ENV.url(
    "BURNISH_LABEL_STUDIO_URL", f"http://127.0.0.1:{LABEL_STUDIO_INTERNAL_PORT}", schemes=("http", "https")
)
LABEL_STUDIO_PUBLIC_URL = ENV.url(
    "BURNISH_LABEL_STUDIO_PUBLIC_URL",
    LABEL_STUDIO_URL if NO_PROXY_NOTE.is_file() else f"http://{HOST}:{LABEL_STUDIO_PORT}",
    schemes=("http", "https"),
)
LABEL_STUDIO_TOKEN = ENV.text("BURNISH_LABEL_STUDIO_TOKEN", "")
WEBHOOK_URL = ENV.url("BURNISH_WEBHOOK_URL", f"http://127.0.0.1:{PORT}", schemes=("http", "https"))
WEBHOOK_SECRET = ENV.text("BURNISH_WEBHOOK_SECRET", "")
ADMIN_EMAIL = ENV.text("BURNISH_ADMIN_EMAIL", "admin@burnish.example")
ADMIN_PASSWORD = ENV.text("BURNISH_ADMIN_PASSWORD", "")
TRAINING_THREADS = ENV.count("BURNISH_TRAINING_THREADS", 0, least=0, most=1024)  # 0: all cores

# --- Django -----------------------------------------------------------------------------------------------------------
DEBUG = ENV.boolean("BURNISH_DEBUG", default=False)
# Empty before the first `up` has written the secrets: config/checks.py refuses to serve so.
SECRET_KEY = ENV.text("BURNISH_SECRET_KEY", "") or "not-yet-generated"
ALLOWED_HOSTS = ENV.text("BURNISH_ALLOWED_HOSTS", f"{HOST},127.0.0.1,localhost").split(",")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "config",
    "catalog",
    "rounds",
    "labelling",
    "console",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASE_URL = (
    ENV.text("BURNISH_DATABASE_URL", "") or ENV.text("DATABASE_URL", "") or f"postgres:///burnish?host={SOCKET_DIR}"
)
EMBEDDED_DATABASE = DATABASE_URL.endswith(f"host={SOCKET_DIR}")
LABEL_STUDIO_DATABASE_URL = ENV.text("BURNISH_LABEL_STUDIO_DATABASE_URL", f"postgres:///label_studio?host={SOCKET_DIR}")
DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}  # type: ignore[no-untyped-call]
if EMBEDDED_DATABASE:
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "burnish",
        "USER": "burnish",
        "HOST": str(SOCKET_DIR),
    }
DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = ENV.time_zone("BURNISH_TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# Label Studio on the same host name uses Django's default cookie names: cookies know no ports.
SESSION_COOKIE_NAME = "burnish_session"
CSRF_COOKIE_NAME = "burnish_csrf"
ENCRYPTED = PUBLIC_URL.startswith("https:")  # by a proxy in front, which says so in a header
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENCRYPTED
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENCRYPTED else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENCRYPTED else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # other hosts of the domain are not ours to bind
    "security.W008",  # that proxy redirects; Label Studio's bell and the probes come in clear, from this machine
    "security.W021",
]
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_NUMBER_FILES = 2000  # the import form takes a selection of files; more come as a zip
MAX_UPLOAD_BYTES = 4 * 1024**3
# What `check_integrity` holds against the files: each layer speaks for its own rows.
INTEGRITY_CLAIMS = ["catalog.integrity.claims", "rounds.integrity.claims"]
# What `doctor` looks at, in this order: likewise.
DOCTOR_CHECKS = [f"{layer}.health.CHECKS" for layer in ("config", "catalog", "rounds", "labelling")]

# --- Celery: the queue is a doorbell, the database is the truth -------------------------------------------------------
BROKER_URL = ENV.text("BURNISH_BROKER_URL", f"redis+socket://{SOCKET_DIR}/valkey.sock")
EMBEDDED_BROKER = BROKER_URL.endswith(f"{SOCKET_DIR}/valkey.sock")
CELERY_BROKER_URL = BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Seconds. Without them whoever asks a broker that stands still waits as long as it stands: a page, beat, a probe.
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1}  # a ring that is lost costs a minute
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # One line per SDK request is noise, and its address holds nothing that ours does not.
    "loggers": {"httpx": {"level": "WARNING"}},
}

UNFOLD = {
    "SITE_TITLE": "Burnish",
    "SITE_HEADER": "Burnish",
    "SITE_SUBHEADER": "defect segmentation you can trust",
    "SITE_URL": reverse_lazy("home"),
    "SITE_SYMBOL": "texture",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("console/favicon.svg")}],
    "STYLES": [lambda _request: static("console/admin.css")],
    # Burnt copper, as on the pages (static/console/burnish.css).
    "COLORS": {
        "primary": {
            "50": "#fbf3ec",
            "100": "#f6e3d3",
            "200": "#ecc5a5",
            "300": "#e3a878",
            "400": "#d98b4e",
            "500": "#c06c2c",
            "600": "#9a4a16",
            "700": "#7f3d13",
            "800": "#653110",
            "900": "#4b250d",
            "950": "#2f1708",
        }
    },
}
