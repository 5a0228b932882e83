"""A backup brought back, into an empty state folder and empty databases, and nowhere else.

A note lies in the folder from the first byte to the last: where it is found, a restore was killed, `up` refuses, and
the next restore removes what is there and begins again.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.migrations.loader import MigrationLoader

from config import archive, backup, databases, label_studio, programs, services
from config.archive import Archive, Progress, Report, megabytes
from config.credentials import write_private
from config.databases import Database

NOT_STATE = {"stack.lock", "backup.lock", "packages"}  # what is there before anything was kept


class CannotRestore(RuntimeError):
    """Nothing was restored; the message says why and what to do."""


def restore(source: Path, report: Report) -> None:
    """Bring a backup back, whole or not at all; the stack stays down.

    Raises:
        CannotRestore, BadArchive, DatabaseFailed, NotReady, NotStarted, NoPostgres, Busy: with what to do.
    """
    with services.lock(), services.interrupted_when_terminated(), archive.reading(source) as packed:
        check_versions(packed.about)
        with noted():
            check_room(packed)
            unpack(packed, report)
            if programs.embeds_postgres():
                services.begin(report)
            fill(packed.about, report)
            services.shut_down()
            os.sync()  # everything, before the note goes


def check_versions(about: dict[str, Any]) -> None:
    """What is newer than we cannot be read; what is older is brought up to date by `up`."""
    known = MigrationLoader(None).disk_migrations
    unknown = [f"{app} {name}" for app, name in about["migrations"] if (app, name) not in known]
    if unknown:
        raise CannotRestore(f"A newer Burnish made this backup: {unknown[0]} is unknown here. Update Burnish first.")
    installed = label_studio.version()
    if installed and _numbers(about["label_studio"]) > _numbers(installed):
        raise CannotRestore(
            f"The backup is of Label Studio {about['label_studio']}, {installed} is installed. Update it first: make up"
        )


def check_room(packed: Archive) -> None:
    needed = packed.size + packed.about["database_bytes"] + backup.SPARE_BYTES
    free = shutil.disk_usage(settings.STATE_DIR).free
    if free < needed:
        raise CannotRestore(
            f"Disk: expected {megabytes(needed)} free for {settings.STATE_DIR}, got {megabytes(free)}. Make room, or "
            "set BURNISH_STATE to another disk."
        )


def unpack(packed: Archive, report: Report) -> None:
    progress = Progress(report, packed.size)
    for name in packed.sums:
        if name != archive.ABOUT:
            progress.add(packed.unpack(name, Path(settings.STATE_DIR)))
    report(f"files: {len(packed.sums)}, {megabytes(progress.done)}, every one as it was packed")


def fill(about: dict[str, Any], report: Report) -> None:
    dumps = Path(settings.STATE_DIR) / "databases"
    for database in databases.both():
        if databases.version(database) < about["postgres"]:
            raise CannotRestore(
                f"The backup is of PostgreSQL {about['postgres']}, the server of {database.name} is older. Update it."
            )
        databases.fill(database, dumps / f"{database.name}.dump", written_by=about["postgres"])
        report(f"database {database.name}: {databases.tables(database)} tables")
    correct_addresses(about)
    shutil.rmtree(dumps)


def correct_addresses(about: dict[str, Any]) -> None:
    """Label Studio's rows name the folder it may serve and where it rings: both may be others here."""
    here = backup.addresses()
    with databases.connected(databases.label_studios()) as opened, opened, opened.cursor() as cursor:
        cursor.execute(
            "UPDATE io_storages_localfilesmixin SET path = %(new)s || substr(path, length(%(old)s) + 1) "
            "WHERE starts_with(path, %(old)s || '/')",
            {"old": about["views"], "new": here["views"]},
        )
        cursor.execute("UPDATE webhook SET url = %s WHERE url = %s", (here["webhook"], about["webhook"]))


# --- all or nothing ---------------------------------------------------------------------------------------------------


@contextmanager
def noted() -> Iterator[None]:
    """An empty place that is whole again, or empty again, after the block.

    Raises:
        CannotRestore: something is there.
    """
    note = services.half_restored()
    if note.exists():
        clear(json.loads(note.read_text()))
    refuse_what_is_not_empty()
    services.shut_down()  # what still runs has lost its state folder
    write_private(note, json.dumps([_identity(one) for one in _elsewhere()]))
    try:
        yield
    except BaseException:
        clear(json.loads(note.read_text()))
        note.unlink()
        raise
    note.unlink()


def refuse_what_is_not_empty() -> None:
    state = Path(settings.STATE_DIR)
    there = sorted(
        path.name for path in state.iterdir() if path.name not in {*NOT_STATE, services.half_restored().name}
    )
    if there:
        raise CannotRestore(
            f"The state folder {state} is not empty ({there[0]} is there), and a restore overwrites nothing. Stop the "
            "stack and move the folder away (manage.py down), or set BURNISH_STATE to another one."
        )
    for database in _elsewhere():
        if databases.tables(database):
            raise CannotRestore(
                f"The database {database.name} is not empty, and a restore overwrites nothing. Drop and create it, or "
                f"set {database.variable} to another one."
            )


def clear(began_empty: list[list[str]]) -> None:
    """Remove what a restore left: it began in an empty folder, with these databases empty."""
    services.shut_down()
    for path in Path(settings.STATE_DIR).iterdir():
        if path.name in {*NOT_STATE, services.half_restored().name}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for database in _elsewhere():
        if _identity(database) in began_empty:
            databases.empty(database)


def _elsewhere() -> list[Database]:
    """The databases that do not lie in the state folder."""
    return [one for one in databases.both() if one.parameters.get("host") != str(settings.SOCKET_DIR)]


def _identity(database: Database) -> list[str]:
    return [database.parameters.get(name, "") for name in ("host", "port", "dbname")]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
