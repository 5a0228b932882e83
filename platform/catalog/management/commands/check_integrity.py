from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.integrity import faults, remove_left_overs


class Command(BaseCommand):
    help = "Prove rows against files, both ways: missing, changed and orphaned files. Exit status 1 if there are any."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--quick", action="store_true", help="look whether files are there, do not read them")

        parser.add_argument("--mend", action="store_true", help="remove files that killed work left behind, then look")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in remove_left_overs() if options["mend"] else ():
            self.stdout.write(f"Removed {name}")
        count = 0
        for fault in faults(contents=not options["quick"]):
            self.stderr.write(fault)
            count += 1
        if count:
            raise CommandError(f"{count} faults.")
        self.stdout.write("Every row has its file, every file its row.")
