from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.formats import READERS, BadSource
from annotation.masks import named
from catalog.importing import create_import, run_import
from catalog.models import Import, Project
from catalog.sources import make_classes


class Command(BaseCommand):
    help = (
        "Import a folder or zip of images, with or without masks, into a project, which is made where it is "
        "missing. Run it again to go on after an interruption: what is in already is left alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("source", help="a folder or a zip: plain images, or any of the formats")
        parser.add_argument(
            "--format", default="detect", choices=("detect", *READERS), help="of the source; by default found out"
        )
        parser.add_argument("--classes", default="", help="names of the defect classes, in the order of their indices")
        parser.add_argument("--benchmark", action="store_true", help="the masks are given truth, not labels of people")
        parser.add_argument("--split", default="", help='JSON file {"train": [...], "val": [...], "test": [...]}')

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            project = _project(options["project"], options["classes"], benchmark=options["benchmark"])
            one = create_import(project, options["source"], read_as=options["format"], split_file=options["split"])
        except BadSource as problem:
            raise CommandError(str(problem)) from problem
        self._run(one)
        self._tell(one)

    def _run(self, one: Import) -> None:
        try:
            run_import(one.pk, report=self._progress)
        except KeyboardInterrupt:
            # Otherwise the sweep would take it for a lost one and go on.
            Import.objects.filter(pk=one.pk, finished_at=None).update(status=Import.Status.CANCELLED)
            raise CommandError("Stopped. What is in stays in; the same command goes on from there.") from None

    def _progress(self, one: Import) -> None:
        done = one.imported + one.already_there
        self.stdout.write(f"\r{done} of {one.total} images", ending="" if self.stdout.isatty() else "\n")

    def _tell(self, one: Import) -> None:
        one.refresh_from_db()
        if one.status == Import.Status.PENDING:
            raise CommandError(f"Another import into {one.project} is running. A worker takes this one up after it.")
        if one.status != Import.Status.DONE:
            raise CommandError(one.error or f"The import was {one.status}.")
        for refused in one.refused.all():
            self.stderr.write(f"refused {refused.name}: {refused.reason}")
        for warning in one.warnings:
            self.stderr.write(f"note: {warning}")
        counts = f"{one.imported} imported, {one.already_there} already there, {one.refused.count()} refused"
        self.stdout.write(f"\n{one.project}: {counts}")


def _project(name: str, classes: str, *, benchmark: bool) -> Project:
    """The project of this name; made, with its classes, where it is missing."""
    names = [one.strip() for one in classes.split(",") if one.strip()]
    project, _ = Project.objects.get_or_create(name=name, defaults={"benchmark": benchmark})
    if benchmark and not project.benchmark:
        raise CommandError(f"Project {name} is there and is no benchmark: its masks are labels. Choose another name.")
    present = project.class_names()
    if names and present and names != present:
        raise CommandError(f"Project {name} has the classes {', '.join(present)}. Leave --classes out.")
    if names and not present:
        make_classes(project, named(names))
    return project
