"""The doorbells. They carry an id and may ring twice, or be lost."""

from celery import shared_task

from catalog import describing, importing


@shared_task
def run_import(import_id: int) -> None:
    """Bring in what an import names."""
    importing.run_import(import_id)


@shared_task
def describe(project_id: int) -> None:
    """Compute what a project's data set holds."""
    describing.describe(project_id)
