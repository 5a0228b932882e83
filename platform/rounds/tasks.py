"""The doorbells. A task carries an id and may run twice, or be lost."""

import errno
import logging
from datetime import timedelta

from celery import shared_task
from celery.signals import worker_process_init
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from catalog.describing import ring_outdated
from catalog.importing import ring_forgotten
from config import processes
from rounds import doorbell, schedule, transitions
from rounds.ml_process import MlFailed
from rounds.models import Campaign, Stage, Status
from rounds.stages import RUNNERS

HEARTBEAT_LIMIT = timedelta(seconds=60)
MAY_PASS = (OSError, OperationalError, InterfaceError)  # a full disk, a database that restarts

log = logging.getLogger(__name__)


@shared_task
def run_stage(stage_id: int) -> None:
    """Run a stage that computes little."""
    work(stage_id)


@shared_task
def run_training_stage(stage_id: int) -> None:
    """Run a stage that starts a process of `ml`; queue gpu."""
    work(stage_id)


@shared_task
def advance(campaign_id: int) -> None:
    """See what a campaign needs next."""
    schedule.advance(campaign_id)


@worker_process_init.connect
def look_after_the_dead(**_: object) -> None:
    """A process that starts may stand in for one that was killed: sweep now instead of within a minute."""
    doorbell.ring_sweep()


@shared_task
def sweep() -> None:
    """Every minute: ring for what was forgotten, take stages whose workers are gone, ring for what campaigns need."""
    ring_forgotten()
    ring_outdated()
    limit = timezone.now() - HEARTBEAT_LIMIT
    for stage in Stage.objects.filter(status=Status.RUNNING):
        if processes.is_gone(stage.worker):
            transitions.lose_worker(stage)
        elif stage.heartbeat_at is not None and stage.heartbeat_at < limit:
            transitions.lose_heartbeat(stage, before=limit)
    for campaign in Campaign.objects.filter(closed_at=None):
        try:
            schedule.advance(campaign.pk)
        except Exception:
            log.exception("campaign %s cannot be advanced; the others are", campaign)


def work(stage_id: int) -> None:
    """Claim a stage, run it, and ring for what follows. A stage that is not pending is left alone."""
    stage = transitions.claim(stage_id)
    if stage is None:
        return
    try:
        RUNNERS[stage.kind](stage)
    except transitions.StaleClaim as gone:
        log.info("%s", gone)
        return
    except Exception as error:
        log.exception("%s failed", stage)
        _fail(stage, error)
    if schedule.waits_for_people(stage.round):
        doorbell.ring_push(stage.round.campaign_id)
    schedule.advance(stage.round.campaign_id)


def _fail(stage: Stage, error: Exception) -> None:
    try:
        if isinstance(error, MlFailed):
            transitions.fail(stage, str(error), log_tail=error.log_tail, may_pass=error.may_pass)
        else:
            transitions.fail(stage, _sentence(error), may_pass=isinstance(error, MAY_PASS))
    except transitions.StaleClaim as gone:
        log.info("%s", gone)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: make room, then retry ({error})."
    return str(error) or type(error).__name__
