"""Every test runs on the real services, in a state folder of its own that is gone afterwards.

Importing this file decides where they will be: Django reads its settings after it. They start when a test asks: the
database and the broker in a second or two, Label Studio and all the rest (`stack`) in under a minute.
"""

import atexit
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import django
import pytest

from config import credentials
from config.environment import KNOWN, ROOT, read_env_file

# In the system's own folder: the user that runs PostgreSQL could not enter a clone in somebody's closed home.
STATE = Path(tempfile.mkdtemp(prefix="burnish-test-"))
STATE.chmod(0o755)
PORTS = ("BURNISH_PORT", "BURNISH_LABEL_STUDIO_PORT", "BURNISH_LABEL_STUDIO_INTERNAL_PORT")
atexit.register(shutil.rmtree, STATE, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; held together so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def choose_environment() -> None:
    """A developer's own variables and .env must not reach the tests; an empty value counts as not given."""
    os.environ |= dict.fromkeys(KNOWN, "")
    os.environ |= dict(zip(PORTS, map(str, free_ports(3)), strict=True))
    os.environ["BURNISH_STATE"] = str(STATE)
    os.environ["BURNISH_LABEL_STUDIO_VENV"] = str(ROOT / ".burnish" / "label-studio-venv")
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    # Networks as small as here gain nothing by a second core, and the halves of `make test` would wait for each other.
    os.environ |= {"OMP_NUM_THREADS": "1", "BURNISH_TRAINING_THREADS": "1"}
    (STATE / "static").mkdir()  # whitenoise warns of a missing one
    credentials.write_missing(STATE, {})
    os.environ |= read_env_file(STATE / "secrets.env")


choose_environment()
django.setup()

from celery import current_app  # noqa: E402  all of these read the settings
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from config import postgres, services  # noqa: E402


def pytest_unconfigure() -> None:
    services.stop()


@pytest.fixture(scope="session")
def stores() -> None:
    """PostgreSQL and Valkey. Rings for the doorbell stay in a broker of their own: the stack's workers know other rows."""
    services.start_stores(lambda _: None)
    current_app.conf.broker_url += "?virtual_host=1"
    with contextlib.closing(postgres.connect()) as admin, admin.cursor() as cursor:
        cursor.execute("ALTER ROLE burnish CREATEDB")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            cursor.execute(f"ALTER SYSTEM SET {setting} = off")  # nothing here outlives the machine
        cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def django_db_setup(stores, django_db_setup) -> None:
    """The test database, once there is a server to make it on."""


@dataclass(frozen=True)
class Stack:
    """Everything, running, with a database of its own: what a user gets from `make up`."""

    url: str
    label_studio_url: str
    public_label_studio_url: str

    def manage(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `manage.py` beside it, in its environment."""
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=environment, text=True, capture_output=True, check=check, timeout=280,
        )  # fmt: skip


@pytest.fixture(scope="session")
def stack(stores) -> Stack:
    """The whole stack, started as a user starts it; it stops at the end of the session."""
    one = Stack(settings.PUBLIC_URL, settings.LABEL_STUDIO_URL, settings.LABEL_STUDIO_PUBLIC_URL)
    started = one.manage("up", check=False)
    assert started.returncode == 0, started.stdout + started.stderr
    return one


@dataclass(frozen=True)
class LabelStudio:
    """The real one."""

    url: str
    public_url: str
    token: str
    admin_email: str
    admin_password: str
    views: Path


@pytest.fixture(scope="session")
def label_studio(stack) -> LabelStudio:
    """The stack's Label Studio: its database takes half a minute to make, so there is one for all tests."""
    return LabelStudio(
        url=settings.LABEL_STUDIO_URL, public_url=settings.LABEL_STUDIO_PUBLIC_URL, token=settings.LABEL_STUDIO_TOKEN,
        admin_email=settings.ADMIN_EMAIL, admin_password=settings.ADMIN_PASSWORD, views=settings.VIEWS_DIR,
    )  # fmt: skip


@pytest.fixture
def on_the_stack(stack, django_db_blocker) -> Iterator[None]:
    """This process works on the stack's own database and rings its workers, as `manage.py` does."""
    # In place: a browser test runs in an event loop, where Django opens a connection of its own by the same settings.
    ours, broker = dict(connection.settings_dict), current_app.conf.broker_url
    theirs = {"ENGINE": "django.db.backends.postgresql", "NAME": "burnish", "USER": "burnish", "OPTIONS": {}}
    connection.close()
    connection.settings_dict.update(theirs, HOST=str(settings.SOCKET_DIR))
    ring_at(f"redis+socket://{settings.SOCKET_DIR}/valkey.sock")
    with django_db_blocker.unblock():
        yield
        connection.close()
    connection.settings_dict.update(ours)
    ring_at(broker)


def ring_at(broker: str) -> None:
    """Send what follows to this broker. Celery keeps its connections, and with them the broker of an earlier test."""
    current_app.conf.broker_url = broker
    current_app.amqp._producer_pool = None


@pytest.fixture
def elsewhere() -> Iterator[dict[str, str]]:
    """The environment of a second installation on this machine, with ports and secrets of its own; stopped afterwards."""
    state = Path(tempfile.mkdtemp(prefix="burnish-test-"))
    state.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if name not in credentials.GENERATED}
    ports = dict(zip(PORTS, map(str, free_ports(3)), strict=True))
    environment = {**inherited, **ports, "DATABASE_URL": "", "BURNISH_STATE": str(state)}
    yield environment
    subprocess.run([sys.executable, "manage.py", "down"], cwd=ROOT, env=environment, check=False, capture_output=True)
    shutil.rmtree(state, ignore_errors=True)
