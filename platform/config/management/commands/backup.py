"""`manage.py backup`: everything that cannot be made again, in one file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from config import backup
from config.databases import DatabaseFailed


class Command(BaseCommand):
    help = (
        "Write both databases, all files and the secrets into one file, while everything runs. Whoever reads the file "
        "can log in as anybody: its mode is 0600, for its owner alone. Keep it that way, and on another disk."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, help="default: burnish-<time>.tar in the current folder")

    def handle(self, *, file: Path | None, **options: Any) -> None:
        target = file or Path(f"burnish-{timezone.now():%Y-%m-%d-%H%M%S}.tar")
        try:
            damaged = backup.back_up(target, lambda line: self.stdout.write(f"  {line}"))
        except (backup.BackupFailed, DatabaseFailed, DatabaseError, psycopg2.Error) as error:
            raise CommandError(str(error).strip()) from error
        self.stdout.write(self.style.SUCCESS(f"{target}: {target.stat().st_size / 1e6:.1f} MB"))
        self.stdout.write("It holds the secrets: whoever reads it can log in as anybody. Its mode is 0600.")
        if damaged:
            for sentence in damaged:
                self.stderr.write(sentence)
            raise CommandError(f"The backup is written, but {len(damaged)} files are not in it as they should be.")
