"""`manage.py status`: what runs."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from config import services, supervision


class Command(BaseCommand):
    help = "Show the stack's programs; exit status 0 when all of them run."
    requires_system_checks = []

    def handle(self, **options: Any) -> None:
        states = supervision.states()
        for state in states.values():
            self.stdout.write(f"{state.name:<16} {state.state:<10} {state.description}")
        if not services.all_running():
            self.stdout.write(
                "Burnish is down." if not states else "Not everything runs. The logs are in the state folder."
            )
            sys.exit(1)
        self.stdout.write(services.addresses())
