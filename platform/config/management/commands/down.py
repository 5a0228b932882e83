"""`manage.py down`: everything `up` started, stopped."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import services


class Command(BaseCommand):
    help = "Stop the stack; harmless when nothing runs."
    requires_system_checks = []

    def handle(self, **options: Any) -> None:
        try:
            ran, killed = services.stop()
        except services.Busy as error:
            raise CommandError(str(error)) from error
        for command in killed:
            self.stdout.write(f"  had to be killed: {command}")
        self.stdout.write("Burnish is down." if ran else "Nothing is running.")
