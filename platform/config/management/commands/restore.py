"""`manage.py restore`: a backup brought back into an empty state folder."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError

from config import restore, services
from config.archive import BadArchive
from config.databases import DatabaseFailed
from config.postgres import NoPostgres
from config.preflight import NotReady
from config.restore import CannotRestore
from config.supervision import NotStarted

EXPECTED = (
    CannotRestore, BadArchive, DatabaseFailed, NotReady, NotStarted, NoPostgres, services.Busy, OSError, psycopg2.Error,
)  # fmt: skip


class Command(BaseCommand):
    help = "Bring a backup back into an empty state folder (and empty databases, where they are elsewhere)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="what manage.py backup wrote")

    def handle(self, *, file: Path, **options: Any) -> None:
        try:
            restore.restore(file, lambda line: self.stdout.write(f"  {line}"))
        except EXPECTED as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; nothing was restored.") from None
        self.stdout.write(self.style.SUCCESS("Restored. Start it: make up. The logins are those of the backup."))
