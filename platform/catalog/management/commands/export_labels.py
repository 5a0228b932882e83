from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.formats import WRITERS, BadSource
from annotation.masks import MaskError
from catalog.exporting import export_labels
from catalog.models import Project


class Command(BaseCommand):
    help = "Write a project's labels with their images and where they come from, for other programs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("target", type=Path, help="a folder that is not there yet; it appears whole")
        parser.add_argument("--format", default="canonical", choices=tuple(WRITERS))
        parser.add_argument("--everything", action="store_true", help="images that have no mask, too")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(name=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        target, form = options["target"], options["format"]
        try:
            lost = export_labels(project, target, write_as=form, everything=options["everything"])
        except (BadSource, MaskError, OSError) as problem:
            raise CommandError(str(problem)) from problem
        for sentence in lost:
            self.stderr.write(f"note: {sentence}")
        self.stdout.write(f"{project}: written to {target} as {form}")
