"""The doorbell of an import. It carries an id and may ring twice, or be lost."""

from celery import shared_task

from catalog import importing


@shared_task
def run_import(import_id: int) -> None:
    """Bring in what an import names."""
    importing.run_import(import_id)
