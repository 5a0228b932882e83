"""The only code that writes Stage.status.

Each transition is one guarded UPDATE whose count is looked at; the journal and the rows a stage leaves are written in
the same transaction. No row updated means that somebody else moved the stage: let go quietly.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from config import processes
from rounds.models import Stage, StageEvent, Status

ATTEMPTS = 5  # claims before a failure that may pass is final; a retry by hand grants one more each time
CANCELLABLE = (Status.PENDING, Status.RUNNING, Status.WAITING)
RETRYABLE = (Status.FAILED, Status.CANCELLED)


class StaleClaim(Exception):
    """The stage was cancelled, or another worker has it: stop working and write nothing."""


@transaction.atomic
def claim(stage_id: int) -> Stage | None:
    """The stage, now running under an attempt of ours; None when it is not ours to run."""
    earlier = Stage.objects.filter(round=OuterRef("round"), position__lt=OuterRef("position"))
    ready = Stage.objects.filter(~Exists(earlier.exclude(status=Status.DONE)), pk=stage_id, status=Status.PENDING)
    now = timezone.now()
    claimed = ready.update(
        status=Status.RUNNING, attempt=F("attempt") + 1, heartbeat_at=now, started_at=now, finished_at=None,
        worker=processes.my_address(), progress={}, result={}, error="", log_tail="",
    )  # fmt: skip
    if not claimed:
        return None  # a second ring for the same bell
    stage = Stage.objects.select_related("round__campaign__project").get(pk=stage_id)
    _journal(stage, Status.PENDING, Status.RUNNING, "claimed by a worker")
    return stage


def beat(stage: Stage, progress: dict[str, Any] | None = None) -> None:
    """Say that the attempt lives, and how far it is.

    Raises:
        StaleClaim: the attempt is no longer ours.
    """
    values = {} if progress is None else {"progress": progress}
    if not _mine(stage).update(heartbeat_at=timezone.now(), **values):
        raise StaleClaim(f"{stage} is no longer ours (attempt {stage.attempt})")


@transaction.atomic
def finish(stage: Stage, write: Callable[[], None], result: dict[str, Any]) -> None:
    """End the attempt as done; `write` inserts the rows it leaves, in the same transaction.

    Raises:
        StaleClaim: the attempt is no longer ours; nothing is written.
    """
    _leave_running(stage, Status.DONE, "finished", result=result, finished_at=timezone.now())
    write()


@transaction.atomic
def hand_out(stage: Stage, reason: str) -> None:
    """Leave the rest to people.

    Raises:
        StaleClaim: the attempt is no longer ours.
    """
    _leave_running(stage, Status.WAITING, reason, heartbeat_at=None)


@transaction.atomic
def fail(stage: Stage, error: str, *, log_tail: str = "", may_pass: bool) -> None:
    """End the attempt as failed: back to pending while attempts are left and the error may pass.

    Raises:
        StaleClaim: the attempt is no longer ours.
    """
    after = Status.PENDING if may_pass and stage.attempt < ATTEMPTS else Status.FAILED
    _leave_running(stage, after, error, error=error, log_tail=log_tail, finished_at=timezone.now())


def lose_heartbeat(stage: Stage, *, before: datetime) -> bool:
    """Take the stage from a worker that has not been heard of since `before`; whether it was taken."""
    reason = f"no sign of life from its worker since {stage.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"
    return _take_from_worker(stage, _mine(stage).filter(heartbeat_at__lt=before), reason)


def lose_worker(stage: Stage) -> bool:
    """Take the stage from a worker process that has ended; whether it was taken."""
    return _take_from_worker(stage, _mine(stage), f"its worker has ended (process {stage.worker})")


@transaction.atomic
def collect(stage: Stage, reason: str, result: dict[str, Any]) -> bool:
    """End the waiting for people; whether it was us who ended it."""
    waiting = Stage.objects.filter(pk=stage.pk, status=Status.WAITING)
    return _move(waiting, stage, Status.DONE, reason, result=result, finished_at=timezone.now())


@transaction.atomic
def cancel(stage: Stage, by: str) -> bool:
    """Stop the stage in the status that was seen; its worker learns of it at the next heartbeat."""
    seen = Stage.objects.filter(pk=stage.pk, status=stage.status).filter(status__in=CANCELLABLE)
    return _move(seen, stage, Status.CANCELLED, f"cancelled by {by}", finished_at=timezone.now())


@transaction.atomic
def retry(stage: Stage, by: str) -> bool:
    """Put a failed or cancelled stage back in line."""
    seen = Stage.objects.filter(pk=stage.pk, status=stage.status).filter(status__in=RETRYABLE)
    return _move(seen, stage, Status.PENDING, f"retried by {by}", error="", log_tail="", finished_at=None)


@transaction.atomic
def _take_from_worker(stage: Stage, guarded: Any, reason: str) -> bool:
    after = Status.PENDING if stage.attempt < ATTEMPTS else Status.FAILED
    return _move(guarded, stage, after, reason, error=reason, finished_at=timezone.now())


def _mine(stage: Stage) -> Any:
    return Stage.objects.filter(pk=stage.pk, status=Status.RUNNING, attempt=stage.attempt)


def _leave_running(stage: Stage, after: Status, reason: str, **values: Any) -> None:
    if not _mine(stage).update(status=after, **values):
        raise StaleClaim(f"{stage} is no longer ours (attempt {stage.attempt})")
    _journal(stage, Status.RUNNING, after, reason)


def _move(guarded: Any, stage: Stage, after: Status, reason: str, **values: Any) -> bool:
    moved = guarded.update(status=after, **values)
    if moved:
        _journal(stage, Status(stage.status), after, reason)
    return bool(moved)


def _journal(stage: Stage, before: Status, after: Status, reason: str) -> None:
    StageEvent.objects.create(stage=stage, attempt=stage.attempt, before=before, after=after, reason=reason[:300])
