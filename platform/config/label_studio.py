"""The embedded Label Studio: its environment, its preparation, its program. Its virtual environment is its own."""

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import settings

from config import probes
from config.environment import ROOT
from config.supervision import Program

THREADS = 8
BOOTSTRAP = Path(__file__).with_name("label_studio_bootstrap.py")
INSIDE = Path(__file__).with_name("inside_label_studio")  # modules of ours that it imports


class LabelStudioFailed(RuntimeError):
    """Label Studio cannot be prepared; the message holds the end of what it said."""


def venv() -> Path:
    return Path(settings.ENV.text("BURNISH_LABEL_STUDIO_VENV", str(ROOT / ".burnish" / "label-studio-venv")))


def data_dir() -> Path:
    return Path(settings.STATE_DIR) / "label-studio"


def package() -> Path:
    """The folder of its Python package, which is also its source root."""
    return next(iter(venv().glob("lib/python3.*/site-packages/label_studio")))


def version() -> str:
    """Of the one that is installed; empty where it runs elsewhere."""
    packed = next(venv().glob("lib/python3.*/site-packages/label_studio-*.dist-info"), None)
    return packed.name.removeprefix("label_studio-").removesuffix(".dist-info") if packed else ""


def database() -> dict[str, str]:
    """Its database in its own (misspelt) variables."""
    parts = urlsplit(settings.LABEL_STUDIO_DATABASE_URL)
    query = parse_qs(parts.query)
    return {
        "DJANGO_DB": "default",  # its name for PostgreSQL
        "POSTGRE_NAME": parts.path.lstrip("/"),
        "POSTGRE_USER": unquote(parts.username or "label_studio"),
        "POSTGRE_PASSWORD": unquote(parts.password or ""),
        "POSTGRE_HOST": parts.hostname or query["host"][0],
        "POSTGRE_PORT": str(parts.port or 5432),
    }


def environment() -> dict[str, str]:
    """All it gets to see: it looks each setting up under its plain name too (HOST, PASSWORD, DEBUG, CI ...)."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(data_dir()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{INSIDE}{os.pathsep}{package()}",
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "burnish_settings",
        "SECRET_KEY": settings.ENV.text("BURNISH_LABEL_STUDIO_SECRET_KEY", ""),
        **database(),
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir()),
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_CSRF_TRUSTED_ORIGINS": settings.LABEL_STUDIO_PUBLIC_URL,
        # No calls home.
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # It may show views and nothing else: any annotator can mount any folder under this root.
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(settings.VIEWS_DIR),
        # The webhook goes to this machine; the address of cloud metadata services stays out of reach.
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16",
        "LABEL_STUDIO_TASK_LOCK_TTL": "3600",  # its 24 h starve the queue
        "LABEL_STUDIO_fflag_feat_utc_210_prediction_validation_15082025": "true",
        # Faster, but then the bulk import of predictions validates nothing.
        "LABEL_STUDIO_fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "false",
    }


def prepare() -> "subprocess.Popen[str]":
    """Start the preparation of its database; `finish` waits for it. The first takes about half a minute."""
    return subprocess.Popen(
        # -P: beside that file lies this one, whose name is also that of its package.
        [venv() / "bin" / "python", "-P", BOOTSTRAP],
        env=environment()
        | {
            "BOOTSTRAP_EMAIL": settings.ADMIN_EMAIL,
            "BOOTSTRAP_PASSWORD": settings.ADMIN_PASSWORD,
            "BOOTSTRAP_TOKEN": settings.LABEL_STUDIO_TOKEN,
        },
        cwd=data_dir(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(preparation: "subprocess.Popen[str]") -> None:
    """Wait for a preparation.

    Raises:
        LabelStudioFailed: it failed.
    """
    said, _ = preparation.communicate(timeout=600)
    if preparation.returncode:
        raise LabelStudioFailed(f"Label Studio's database could not be prepared:\n{said[-1500:].strip()}")


def program() -> Program:
    """Its web server. Unlike Label Studio's own starter, gunicorn refuses a port that is taken."""
    port = settings.LABEL_STUDIO_INTERNAL_PORT
    command = [
        str(venv() / "bin" / "gunicorn"),
        "core.wsgi:application",
        *("--chdir", str(package()), "--bind", f"127.0.0.1:{port}"),
        *("--workers", "1", "--threads", str(THREADS), "--timeout", "300", "--graceful-timeout", "2"),
    ]
    variables = data_dir() / "environment.json"
    return Program(
        "label-studio",
        command,
        ready=lambda: probes.page("127.0.0.1", port, "/health"),
        # Not from our root: it would take our packages for its own of the same names.
        directory=data_dir(),
        folder=data_dir(),
        environment=variables,
        files={variables: json.dumps(environment(), indent=1)},
    )
