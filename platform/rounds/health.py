"""What happens, as the doctor sees it: stages that failed, fell silent, or that nobody takes."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from config.doctor import Check, Finding, broken, fine
from rounds.doorbell import TRAINING_KINDS
from rounds.models import Campaign, Round, Stage, Status
from rounds.tasks import HEARTBEAT_LIMIT

PATIENCE = timedelta(minutes=3)  # the sweep comes every minute, and rings for what is due


def stages() -> Iterator[Finding]:
    found = [finding for campaign in Campaign.objects.filter(closed_at=None) for finding in _of(campaign)]
    yield from found
    if not found:
        yield fine("rounds", f"{Campaign.objects.filter(closed_at=None).count()} campaigns are open, none is stuck.")


def _of(campaign: Campaign) -> Iterator[Finding]:
    now, last = timezone.now(), campaign.rounds.last()
    if last is None:
        if campaign.created_at < now - PATIENCE:
            yield broken("rounds", f"{campaign} has not begun.", "It does where beat and worker-default run.")
        return
    for stage in last.stages.filter(status=Status.FAILED):
        yield broken(
            "rounds", f"{stage} failed: {stage.error}", f"Its page says more: /rounds/{last.pk}/. Retry it there."
        )
    for stage in last.stages.filter(status=Status.RUNNING, heartbeat_at__lt=now - HEARTBEAT_LIMIT - PATIENCE):
        mend = "The sweep takes it from its worker where beat and worker-default run."
        yield broken("rounds", f"{stage} has shown no sign of life since {stage.heartbeat_at:%H:%M:%S} UTC.", mend)
    waiting = _first_pending(last)
    if waiting and _due_since(waiting) < now - PATIENCE and not _is_in_line(waiting):
        yield broken("rounds", f"{waiting} is due and nobody takes it.", "It needs beat and a worker of its queue.")


def _first_pending(last: Round) -> Stage | None:
    """The stage that could run now."""
    first = last.stages.exclude(status=Status.DONE).order_by("position").first()
    return first if first and first.status == Status.PENDING else None


def _due_since(stage: Stage) -> datetime:
    """The latest change of it or of the stage before it."""
    last = stage.events.last() or stage.round.stages.filter(position__lt=stage.position).last()
    return getattr(last, "at", None) or getattr(last, "finished_at", None) or stage.round.opened_at


def _is_in_line(stage: Stage) -> bool:
    """Whether another stage of its queue runs: a training may take hours."""
    running = Stage.objects.filter(status=Status.RUNNING)
    return stage.kind in TRAINING_KINDS and running.filter(kind__in=TRAINING_KINDS).exists()


CHECKS = (Check("rounds", stages, needs=("database",)),)
