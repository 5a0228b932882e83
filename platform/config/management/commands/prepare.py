"""`manage.py prepare`: what must be done before the servers start, where something else starts them (compose.yaml)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import services
from config.preflight import NotReady


class Command(BaseCommand):
    help = "Migrate our database, collect static files and create the administrator; harmless to repeat."
    requires_system_checks = []

    def handle(self, **options: Any) -> None:
        try:
            services.prepare_ours(self.stdout.write)
        except NotReady as error:
            raise CommandError(str(error)) from error
