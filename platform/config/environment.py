"""What this installation was told: environment variables, `.env` and the generated secrets, parsed strictly.

Order of precedence: process environment, `.env` at the project's root, `secrets.env` in the state folder (written by
the first start), the default beside each name.
"""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ROOT = Path(__file__).resolve().parents[2]

# Every name Burnish reads, with what it is for. A BURNISH_ variable that is not here is a typing error: refused.
KNOWN = {
    "BURNISH_STATE": "folder that holds all state (default: .burnish/state beside manage.py)",
    "BURNISH_HOST": "address the web server and the labelling proxy bind to (default 127.0.0.1)",
    "BURNISH_PORT": "port of the web server (default 8000)",
    "BURNISH_LABEL_STUDIO_PORT": "port where annotators reach Label Studio, through the proxy (default 8080)",
    "BURNISH_LABEL_STUDIO_INTERNAL_PORT": "port of Label Studio itself, on 127.0.0.1 (default 8081)",
    "BURNISH_LABEL_STUDIO_URL": "address of Label Studio for our workers (default: the internal port)",
    "BURNISH_LABEL_STUDIO_PUBLIC_URL": "address of Label Studio for annotators (default: the proxy's port)",
    "BURNISH_LABEL_STUDIO_TOKEN": "API token of Label Studio's administrator (generated)",
    "BURNISH_LABEL_STUDIO_DATABASE_URL": "Label Studio's database (default: a second one on the embedded server)",
    "BURNISH_LABEL_STUDIO_SECRET_KEY": "signing key of Label Studio's sessions and tokens (generated)",
    "BURNISH_LABEL_STUDIO_VENV": "virtual environment of Label Studio (default: .burnish/label-studio-venv)",
    "BURNISH_PUBLIC_URL": "address of the web server for browsers (default: its host and port)",
    "BURNISH_WEBHOOK_URL": "address at which Label Studio reaches us (default: the web server's)",
    "BURNISH_WEBHOOK_SECRET": "shared secret of the webhook (generated)",
    "BURNISH_SECRET_KEY": "Django's signing key (generated)",
    "BURNISH_ALLOWED_HOSTS": "comma-separated host names the web server answers to",
    "BURNISH_DEBUG": "true or false (default false)",
    "BURNISH_ADMIN_EMAIL": "login of the first administrator, in both systems (default admin@burnish.example)",
    "BURNISH_ADMIN_PASSWORD": "password of the first administrator (generated)",
    "BURNISH_TIME_ZONE": "time zone of clocks and pages (default UTC)",
    "BURNISH_DATABASE_URL": "our database; DATABASE_URL is read too (default: the embedded PostgreSQL)",
    "BURNISH_BROKER_URL": "Redis or Valkey for Celery (default: the embedded Valkey)",
    "BURNISH_TRAINING_THREADS": "processor threads of one training (default: all cores)",
}


class BadEnvironment(ValueError):
    """A setting cannot be what it was set to; the message says what was expected, what came and what to do."""


def read_env_file(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file; quotes around a value are dropped; missing file = no lines."""
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise BadEnvironment(
                f"{path}, line {number}: expected NAME=value, got {text!r}. Correct or remove the line."
            )
        values[name.strip()] = value.strip().strip("\"'")
    return values


@dataclass(frozen=True)
class Environment:
    """The merged variables, with one strict reader per type."""

    values: dict[str, str]

    def text(self, name: str, default: str) -> str:
        """The value, or `default` where it is missing or empty."""
        if name.startswith("BURNISH_") and name not in KNOWN:
            raise KeyError(f"{name} is not described in config/environment.py: add it to KNOWN")
        return self.values.get(name) or default

    def boolean(self, name: str, *, default: bool) -> bool:
        """True or false; anything else is refused."""
        value = self.text(name, str(default)).lower()
        if value not in {"true", "false", "1", "0", "yes", "no"}:
            raise BadEnvironment(
                f"{name}: expected true or false, got {value!r}. Correct it in the environment or .env."
            )
        return value in {"true", "1", "yes"}

    def port(self, name: str, default: int) -> int:
        """A TCP port, 1 to 65535."""
        return self.count(name, default, least=1, most=65535)

    def count(self, name: str, default: int, *, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"\d{1,9}", value) or not least <= int(value) <= most:
            raise BadEnvironment(f"{name}: expected a whole number from {least} to {most}, got {value!r}.")
        return int(value)

    def url(self, name: str, default: str, *, schemes: tuple[str, ...]) -> str:
        """An address with one of the schemes, without a trailing slash."""
        value = self.text(name, default)
        if urlsplit(value).scheme not in schemes:
            raise BadEnvironment(f"{name}: expected an address beginning with {' or '.join(schemes)}, got {value!r}.")
        return value.rstrip("/")

    def time_zone(self, name: str, default: str) -> str:
        """The name of a time zone this machine knows."""
        value = self.text(name, default)
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadEnvironment(f"{name}: expected a time zone such as Europe/Berlin, got {value!r}.") from error
        return value

    def unknown(self) -> list[str]:
        """BURNISH_ variables that nothing reads: most often a typing error."""
        return sorted(name for name in self.values if name.startswith("BURNISH_") and name not in KNOWN)


def state_dir(values: dict[str, str]) -> Path:
    """The folder that holds all state; deleting it is a fresh start."""
    return Path(values.get("BURNISH_STATE") or ROOT / ".burnish" / "state").expanduser().resolve()


def socket_dir(state: Path) -> Path:
    """A short folder for the unix sockets of one state folder: a socket path over about 100 bytes is refused."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else tempfile.gettempdir())
    digest = hashlib.sha256(f"{os.geteuid()}:{state}".encode()).hexdigest()[:10]
    return Path(runtime) / f"burnish-{digest}"


def load() -> tuple[Environment, Path]:
    """The merged environment and the state folder it names."""
    given = {**read_env_file(ROOT / ".env"), **os.environ}
    state = state_dir(given)
    return Environment({**read_env_file(state / "secrets.env"), **given}), state
