"""A backup of a running installation: both databases, all files, the secrets, in one file for its owner's eyes.

The rows come first, from one moment in both databases; the files after them. A file is written before the row that
names it and never changed, so every row of the backup finds its file in it, which is proved before the backup gets its
name. What came while the files were read has no row there, and is an orphan that `check_integrity` reports.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.urls import reverse

from catalog.integrity import all_claims
from config import archive, credentials, databases, label_studio, preflight
from config.archive import Progress, Report, megabytes
from config.databases import Database
from ml.files import locked
from rounds.models import Acquisition

SECRETS = (*credentials.GENERATED, "BURNISH_ADMIN_EMAIL")
# While it is held, nobody decides to ask people anything.
GUARD = f"LOCK TABLE {Acquisition._meta.db_table} IN SHARE MODE"  # noqa: SLF001  Django's name for it
SPARE_BYTES = 1 << 30  # left free for everything else on the disk


class BackupFailed(RuntimeError):
    """No backup was written; the message says why and what to do."""


def back_up(target: Path, report: Report) -> list[str]:
    """Write the backup, whole or not at all; what is damaged in the installation it was made of, in sentences.

    Raises:
        BackupFailed, DatabaseFailed: with what to do.
    """
    with _alone():
        _check_place(target)
        with _nameless(target) as work, one_moment() as snapshots:
            with archive.writing(work / "archive", about(snapshots)) as writer:
                writer.text(archive.SECRETS, secrets())
                _add_databases(writer, work, snapshots, report)
                left_out = list(_add_files(writer, report))
            unproved = list(_unproved(writer.sums))
            (work / "archive").rename(target)
    return [*left_out, *unproved]


def about(snapshots: Mapping[Database, str]) -> dict[str, Any]:
    """What a restore must know: it refuses what is newer than itself, and corrects addresses that moved."""
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "postgres": max(databases.version(database) for database in snapshots),
        "database_bytes": sum(map(databases.size, snapshots)),
        "label_studio": label_studio.version(),
        "migrations": sorted(map(list, MigrationRecorder(connection).applied_migrations())),
        **addresses(),
    }


def addresses() -> dict[str, str]:
    """What Label Studio's rows say of this place."""
    return {"views": str(settings.VIEWS_DIR), "webhook": settings.WEBHOOK_URL + reverse("label-studio-hook")}


def secrets() -> str:
    """What logins, sessions, tokens and the webhook hang on, wherever this installation has it from."""
    given = settings.ENV.values
    return "".join(f"{name}={given[name]}\n" for name in SECRETS if given.get(name))


def trees() -> dict[str, Path]:
    """Name in the archive, relative to the state folder -> the folder."""
    return {"data": Path(settings.DATA_DIR), "label-studio/media": label_studio.data_dir() / "media"}


# --- one moment -------------------------------------------------------------------------------------------------------


@contextmanager
def one_moment() -> Iterator[dict[Database, str]]:
    """A snapshot of each database, for as long as the block runs; Django's own connection sees ours.

    Label Studio's is a few milliseconds younger, and nobody was asked anything new in between. So there is no task in
    it whose acquisition we do not know, whose number a later acquisition would be given; and no answer of ours that it
    lacks. What it has more (an answer, a task pushed just then) is found by the next poll and the next push.

    Raises:
        DatabaseFailed: one of them does not answer.
    """
    mine, theirs = databases.both()
    with databases.connected(mine) as still, databases.connected(theirs) as other, transaction.atomic():
        with still, still.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '30s'")
            cursor.execute(GUARD)
            snapshots = {mine: _export(connection.cursor()), theirs: _export(other.cursor())}
        yield snapshots


def _export(cursor: Any) -> str:
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    cursor.execute("SELECT pg_export_snapshot()")
    return str(cursor.fetchone()[0])


def _add_databases(writer: archive.Writer, work: Path, snapshots: Mapping[Database, str], report: Report) -> None:
    for database, snapshot in snapshots.items():
        dumped = work / database.name
        databases.dump(database, dumped, snapshot=snapshot)
        size = writer.file(f"databases/{database.name}.dump", dumped, mode=archive.PRIVATE)
        dumped.unlink()
        report(f"database {database.name}: {megabytes(size)}")


# --- files ------------------------------------------------------------------------------------------------------------


def _add_files(writer: archive.Writer, report: Report) -> Iterator[str]:
    """Add every file; those that cannot be, in sentences."""
    total = sum(path.lstat().st_size for _, path in _files())
    progress = Progress(report, total)
    for name, path in _files():
        if path.is_symlink() or not path.is_file() or not name.isprintable():
            yield f"{name!r} is no plain file with a plain name: left out."
            continue
        try:
            progress.add(writer.file(name, path))
        except FileNotFoundError:
            continue  # of an import or an upload that just ended; one that a row names is missed below
    report(f"files: {megabytes(progress.done)}")


def _files() -> Iterator[tuple[str, Path]]:
    """(name in the archive, path), without what is being written just now (catalog/files.py)."""
    for name, root in trees().items():
        for folder, below, here in os.walk(root):
            links = [one for one in below if (Path(folder) / one).is_symlink()]
            for path in (Path(folder) / one for one in sorted(here + links)):
                if not (path.name.startswith(".") and path.suffix == ".tmp"):
                    yield f"{name}/{path.relative_to(root).as_posix()}", path


def _unproved(sums: Mapping[str, str]) -> Iterator[str]:
    """Rows of the snapshot whose file is not in the archive, or is another."""
    for claim in all_claims():
        found = sums.get(f"data/{claim.path}")
        if found != claim.sha256:
            yield f"{claim.row}: {claim.path} is {'missing' if found is None else 'changed'}. See check_integrity."


# --- where it is written ----------------------------------------------------------------------------------------------


@contextmanager
def _alone() -> Iterator[None]:
    path = Path(settings.STATE_DIR) / "backup.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, wait=False) as mine:
        if not mine:
            raise BackupFailed("Another backup of this installation is at work. Wait for it.")
        yield


@contextmanager
def _nameless(target: Path) -> Iterator[Path]:
    """A private folder beside the target, gone afterwards; also what a backup that was killed left in its place."""
    work = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        yield work
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written: {error}. Name another place.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_place(target: Path) -> None:
    if target.exists():
        raise BackupFailed(f"{target} is there already. Remove it, or name another file.")
    for root in trees().values():
        if target.resolve().is_relative_to(root.resolve()):
            raise BackupFailed(f"{target} would become a part of itself. Name a place outside {root}.")
    # A dump is compressed, so it takes less than half, and lies there twice for a moment.
    needed = sum(map(databases.size, databases.both())) + sum(path.lstat().st_size for _, path in _files())
    free = shutil.disk_usage(preflight.nearest_existing(target.parent.resolve())).free
    if free < needed + SPARE_BYTES:
        raise BackupFailed(
            f"Disk: expected {megabytes(needed + SPARE_BYTES)} free for {target}, got {megabytes(free)}. Make room, or "
            "name a place on another disk."
        )
