"""System checks of the installation: settings that parse, and still cannot work. All carry an id and say what to do."""

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  Django's own name for it
from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host

from config.environment import KNOWN

TAG = "installation"
SERVING = ("BURNISH_SECRET_KEY", "BURNISH_LABEL_STUDIO_TOKEN", "BURNISH_WEBHOOK_SECRET")


@register(TAG)
def installation(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    return [message for check in CHECKS for message in check()]


def unknown_names() -> list[CheckMessage]:
    return [
        Error(f"{name} is not a setting of Burnish.", hint=nearest(name), id="burnish.E001")
        for name in settings.ENV.unknown()
    ]


def nearest(name: str) -> str:
    similar = difflib.get_close_matches(name, KNOWN, n=1)
    known = f"Did you mean {similar[0]}?" if similar else "platform/config/environment.py lists all names."
    return f"{known} Correct it in the environment or .env, or remove it."


def equal_ports() -> list[CheckMessage]:
    ports = {
        "BURNISH_PORT": settings.PORT,
        "BURNISH_LABEL_STUDIO_PORT": settings.LABEL_STUDIO_PORT,
        "BURNISH_LABEL_STUDIO_INTERNAL_PORT": settings.LABEL_STUDIO_INTERNAL_PORT,
    }
    shared = [port for port, count in Counter(ports.values()).items() if count > 1]
    return [
        Error(
            f"{' and '.join(name for name, one in ports.items() if one == port)} are the same port, {port}.",
            hint="Give each server a port of its own.",
            id="burnish.E002",
        )
        for port in shared
    ]


def database_engine() -> list[CheckMessage]:
    engine = settings.DATABASES["default"]["ENGINE"]
    if engine == "django.db.backends.postgresql":
        return []
    hint = "Set DATABASE_URL to postgres://..., or leave it out for the embedded server."
    return [Error(f"The database must be PostgreSQL, got {engine}.", hint=hint, id="burnish.E003")]


def public_host() -> list[CheckMessage]:
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    if validate_host(host, settings.ALLOWED_HOSTS):
        return []
    return [
        Error(
            f"BURNISH_PUBLIC_URL is at {host}, which the web server does not answer to.",
            hint=f"Add it: BURNISH_ALLOWED_HOSTS={','.join([*settings.ALLOWED_HOSTS, host])}",
            id="burnish.E004",
        )
    ]


def administrator() -> list[CheckMessage]:
    name, at, domain = settings.ADMIN_EMAIL.partition("@")
    if name and at and "." in domain:
        return []
    hint = "Label Studio knows its users by address; it need not be a real one."
    message = f"BURNISH_ADMIN_EMAIL must be an e-mail address, got {settings.ADMIN_EMAIL!r}."
    return [Error(message, hint=hint, id="burnish.E005")]


def debugging_in_public() -> list[CheckMessage]:
    if not settings.DEBUG or is_loopback(settings.HOST):
        return []
    hint = "Set BURNISH_DEBUG=false, or BURNISH_HOST=127.0.0.1."
    return [Error(f"BURNISH_DEBUG shows secrets to whoever reaches {settings.HOST}.", hint=hint, id="burnish.E006")]


def mixed_encryption() -> list[CheckMessage]:
    schemes = {urlsplit(url).scheme for url in (settings.PUBLIC_URL, settings.LABEL_STUDIO_PUBLIC_URL)}
    if len(schemes) == 1:
        return []
    return [
        Warning(
            "Of BURNISH_PUBLIC_URL and BURNISH_LABEL_STUDIO_PUBLIC_URL only one is https: the password that opens both "
            "travels in clear.",
            hint="Put both behind the same TLS terminator.",
            id="burnish.W001",
        )
    ]


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


CHECKS: tuple[Callable[[], list[CheckMessage]], ...] = (
    unknown_names,
    equal_ports,
    database_engine,
    public_host,
    administrator,
    debugging_in_public,
    mixed_encryption,
)


def refuse_to_serve() -> None:
    """Servers run no system checks by themselves: this is theirs.

    Raises:
        ImproperlyConfigured: a check failed, or a secret is missing.
    """
    errors = [f"{one.msg} {one.hint} ({one.id})" for one in installation(None) if one.is_serious()]
    missing = [name for name in SERVING if not settings.ENV.text(name, "")]
    if missing:
        errors.append(f"Expected {', '.join(missing)}, got nothing. `manage.py up` generates them, or set them.")
    if errors:
        raise ImproperlyConfigured("\n".join(errors))
