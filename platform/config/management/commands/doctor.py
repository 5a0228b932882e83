"""`manage.py doctor`: what is wrong, and how to mend it."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from config import doctor
from config.doctor import Finding, Mark


class Command(BaseCommand):
    help = "Look at every part and say what is wrong and how to mend it; exit status 1 when something is broken."
    requires_system_checks = []  # it makes them itself, and must speak where they would end it

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs: one object with all findings")

    def handle(self, **options: Any) -> None:
        findings = list(self.findings(aloud=not options["json"]))
        healthy = all(one.mark is not Mark.BROKEN for one in findings)
        if options["json"]:
            named = [{**asdict(one), "mark": one.mark.name.lower()} for one in findings]
            self.stdout.write(json.dumps({"healthy": healthy, "findings": named}, indent=1))
        if not healthy:
            sys.exit(1)

    def findings(self, *, aloud: bool) -> Iterator[Finding]:
        styles = {Mark.FINE: self.style.SUCCESS, Mark.DOUBTFUL: self.style.WARNING, Mark.BROKEN: self.style.ERROR}
        for one in doctor.examine():
            if aloud:
                self.stdout.write(styles[one.mark](str(one)))
            yield one
