"""Rings, by name: a lost one costs a minute (the sweep rings again), never a result."""

import logging

from django.db import transaction
from kombu.exceptions import OperationalError

from config import celery_app
from rounds.models import Stage

TRAINING_KINDS = frozenset({"train", "distil", "predict", "evaluate"})  # they start a process of `ml`: queue gpu
EXPIRES = 60  # seconds; the sweep rings again, so rings do not pile up behind a long training

log = logging.getLogger(__name__)


def ring_stage(stage: Stage) -> None:
    """Ask a worker to run a pending stage."""
    task = "run_training_stage" if stage.kind in TRAINING_KINDS else "run_stage"
    _ring(f"rounds.tasks.{task}", stage.pk)


def ring_advance(campaign_id: int) -> None:
    """Ask a worker to see what a campaign needs next."""
    _ring("rounds.tasks.advance", campaign_id)


def ring_push(campaign_id: int) -> None:
    """Ask whoever serves people to take up new acquisitions; by name, because `rounds` knows nobody above it."""
    _ring("labelling.tasks.push", campaign_id)


def ring_sweep() -> None:
    """Ask for a look at every stage and every campaign, now."""
    _send("rounds.tasks.sweep")


def _ring(task: str, pk: int) -> None:
    # After the commit: a worker that hears the bell must see the rows.
    transaction.on_commit(lambda: _send(task, pk))


def _send(task: str, *arguments: int) -> None:
    try:
        celery_app.send_task(task, arguments, expires=EXPIRES)
    except OperationalError as problem:
        log.warning("could not ring %s%s: %s; the sweep will", task, arguments, problem)
