from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from annotation.errors import LabelStudioError
from labelling import people


class Command(BaseCommand):
    help = "Make a login for an annotator that works in Burnish and in Label Studio."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--password", help="generated and printed when not given")

    def handle(self, *, email: str, password: str | None, **options: Any) -> None:
        chosen = password or people.generated_password()
        try:
            annotator = people.add_annotator(email, chosen)
        except (people.NoLogin, LabelStudioError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{annotator} can log in to {settings.PUBLIC_URL} and {settings.LABEL_STUDIO_PUBLIC_URL}.")
        if not password:
            self.stdout.write(f"Password: {chosen}")
