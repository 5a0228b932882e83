"""`manage.py up`: the whole stack, started or found running."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import checks, services
from config.label_studio import LabelStudioFailed
from config.postgres import NoPostgres
from config.preflight import NotReady
from config.supervision import NotStarted


class Command(BaseCommand):
    help = "Start the embedded services, Label Studio, the web server and the workers; harmless when they run."
    requires_system_checks = []  # made below, once settings are whole

    def handle(self, **options: Any) -> None:
        services.begin_again_where_settings_are_new()
        self.check(tags=[checks.TAG])  # others ask the database, which is not up yet
        try:
            started = services.start(lambda line: self.stdout.write(f"  {line}"))
        except (NotReady, NotStarted, NoPostgres, LabelStudioFailed, services.Busy) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; what was started is stopped again.") from None
        self.stdout.write(self.style.SUCCESS("Burnish is up." if started else "Burnish is up already."))
        self.stdout.write(services.addresses())
