"""The doorbells of labelling. Every one may ring twice, or be lost: `reconcile_all` comes every minute."""

import logging
from datetime import timedelta

from celery import Task, shared_task
from django.db.models import Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from annotation.errors import LabelStudioError
from labelling import inbox, outbox, people, script
from labelling.models import LabellingProject
from rounds.models import Campaign

Bell = Task[[int], None]
EXPIRES = 60  # seconds; by then the minute's round has come by

log = logging.getLogger(__name__)


def ring(task: Bell, pk: int, *, delay: float = 0) -> None:
    """Ask a worker for a task, after `delay` seconds; where the queue cannot be reached, the minute's round does it."""
    try:
        task.apply_async((pk,), countdown=delay, expires=EXPIRES + delay)
    except OperationalError as problem:
        log.warning("could not ring %s(%s): %s; it is done within a minute", task.name, pk, problem)


@shared_task
def reconcile_all() -> None:
    """Send and fetch for every open campaign: what all the other bells may have missed."""
    try:
        people.settle_access()
    except LabelStudioError as problem:
        log.warning("who may log in to Label Studio is not settled: %s", problem)
    for campaign in Campaign.objects.filter(closed_at=None):
        _whatever_happens(push, campaign.pk)
    for project in _due(LabellingProject.objects.exclude(remote_id=None)):
        _whatever_happens(poll, project.pk)


@shared_task
def poll(labelling_project_id: int) -> None:
    """Fetch what people did in one project, also what a bell came too early for."""
    inbox.reconcile(_project(labelling_project_id))


@shared_task
def reconcile(labelling_project_id: int) -> None:
    """Fetch what people did just now in one project."""
    inbox.reconcile(_project(labelling_project_id), overlap=inbox.OVERLAP_WHEN_RUNG)


@shared_task
def push(campaign_id: int) -> None:
    """Send a campaign's new acquisitions; where a script answers, wake it."""
    campaign = Campaign.objects.select_related("project").get(pk=campaign_id)
    outbox.push(campaign)
    if script.has_work(campaign):
        ring(answer, campaign_id)


@shared_task
def answer(campaign_id: int) -> None:
    """Let the script of a campaign answer all that waits for it."""
    campaign = Campaign.objects.select_related("project").get(pk=campaign_id)
    if script.answer(campaign):
        ring(reconcile, campaign.labelling_project.pk)


def _due(projects: QuerySet[LabellingProject]) -> QuerySet[LabellingProject]:
    """Late answers are never lost: where the campaign is closed, somebody looks once an hour, and until it succeeds."""
    hour_ago = timezone.now() - timedelta(hours=1)
    due = Q(campaign__closed_at=None) | Q(polled_at=None) | Q(polled_at__lt=hour_ago) | ~Q(error="")
    return projects.filter(due)


def _project(pk: int) -> LabellingProject:
    return LabellingProject.objects.select_related("campaign__project").get(pk=pk)


def _whatever_happens(task: Bell, pk: int) -> None:
    try:
        task(pk)
    except Exception:
        log.exception("%s(%s) failed; the others go on", task.name, pk)
