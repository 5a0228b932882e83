"""`manage.py up`: the whole stack, started or found running."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import credentials, services
from config.label_studio import LabelStudioFailed
from config.postgres import NoPostgres
from config.preflight import NotReady
from config.supervision import NotStarted


class Command(BaseCommand):
    help = "Start the embedded services, Label Studio, the web server and the workers; harmless when they run."
    requires_system_checks = []  # checked below, once the secrets are there

    def handle(self, **options: Any) -> None:
        if credentials.write_missing(settings.STATE_DIR, os.environ):
            # Settings were read without them, and are read once: begin again.
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606  ourselves
        self.check()
        try:
            started = services.start(lambda line: self.stdout.write(f"  {line}"))
        except (NotReady, NotStarted, NoPostgres, LabelStudioFailed, services.Busy) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped before everything ran; what was started is stopped again.") from None
        self.stdout.write(self.style.SUCCESS("Burnish is up." if started else "Burnish is up already."))
        self.stdout.write(services.addresses())
