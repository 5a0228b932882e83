"""What a campaign does next: which stages a round has, when the next round opens, and the same in words.

Everything is decided under a lock on the campaign's row, so two triggers at once open one round. Idempotent: called
after every transition and from the sweep.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from rounds import campaigns, clock, doorbell, transitions
from rounds.models import Acquisition, Campaign, Round, Stage, Status

ASKING = ("acquire", "annotate")  # left out of a round that asks nobody
FIRST_ROUND: list[dict[str, Any]] = [
    {"kind": "acquire", "name": "choose images at random", "settings": {"strategy": "random_scenes"}},
    {"kind": "annotate", "name": "annotate", "settings": {}},
]


def advance(campaign_id: int) -> None:
    """Collect, open, close as is due, and ring for the stage that can run now."""
    with transaction.atomic():
        stage = due(campaign_id)
        if stage is not None:
            doorbell.ring_stage(stage)


@transaction.atomic
def due(campaign_id: int) -> Stage | None:
    """The stage that can run now, after everything that is due has been collected, opened or closed."""
    campaign = _locked(campaign_id)
    if campaign is None:
        return None
    last = campaign.rounds.last()
    if last is not None:
        _collect_answers(last)
    if last is None or is_over(last) or _may_be_cut_short(last):
        last = _next_round(campaign, last, asked_by=None) or last
    return _first_pending(last) if last is not None else None


@transaction.atomic
def start_round(campaign: Campaign, by: object) -> Round | None:
    """The round opened because a person asked for it; None while a round computes, or when none is left."""
    locked = _locked(campaign.pk)
    if locked is None:
        return None
    last = locked.rounds.last()
    if last is not None and not is_over(last) and not waits_for_people(last):
        return None
    opened = _next_round(locked, last, asked_by=by)
    doorbell.ring_advance(campaign.pk)
    return opened


def why_open_next_round(campaign: Campaign, *, now: datetime, asked_by: object = None) -> str | None:
    """The one rule: the trigger that opens the next round now, in words; None when none does."""
    last = campaign.rounds.last()
    if asked_by is not None:
        return f"started by {asked_by}"
    if last is None:
        return "the campaign begins"
    return _trigger(campaign, last, now) or _completion(campaign, last)


def _trigger(campaign: Campaign, last: Round, now: datetime) -> str | None:
    new = _new_labels(campaign, last)
    if campaign.label_trigger and new >= campaign.label_trigger:
        return f"{new} new labels, {campaign.label_trigger} were asked for"
    if new and _clock_is_due(campaign, now):
        return f"the clock ({campaign.clock}), with {new} new labels"
    return None


def _completion(campaign: Campaign, last: Round) -> str | None:
    if _is_cancelled(last) or not is_over(last):
        return None
    if not campaign.label_trigger and not campaign.clock:
        return f"round {last.number} is complete"
    # Waiting for more labels than were asked for would be waiting for ever.
    if campaign.label_trigger and not open_questions(campaign).exists():
        return f"every question of round {last.number} is answered"
    return None


def next_step(campaign: Campaign) -> str:
    """What happens next, or what a person should do, in words."""
    if campaign.closed_at:
        return "finished"
    last = campaign.rounds.last()
    if last is None:
        return "round 0 opens within a minute"
    stage = _current_stage(last)
    if stage is None or stage.status == Status.CANCELLED:
        return _in_words_between_rounds(campaign, last)
    if stage.status == Status.FAILED:
        return f"{stage.name} failed: see why in round {last.number}, then retry or cancel it"
    if stage.status == Status.WAITING:
        return _in_words_while_waiting(campaign, last, stage)
    return f"training: round {last.number}, {stage.name}" if last.number else f"{stage.name} (round 0)"


def is_over(one: Round) -> bool:
    """Whether nothing more happens in the round by itself: all is done, or it was cancelled."""
    return _is_cancelled(one) or not one.stages.exclude(status=Status.DONE).exists()


def waits_for_people(one: Round) -> bool:
    """Whether its annotate stage is handed out."""
    return one.stages.filter(status=Status.WAITING).exists()


def open_questions(campaign: Campaign) -> "QuerySet[Acquisition]":
    """Acquisitions that nobody has answered or skipped."""
    return campaign.acquisitions.filter(label=None, skipped_at=None)


def missing_answers(stage: Stage) -> int:
    """How many answers an annotate stage still waits for."""
    asked = questions_of(stage)
    needed = ceil(stage.round.campaign.enough_share * asked.count())
    return max(0, needed - asked.exclude(label=None, skipped_at=None).count())


def questions_of(stage: Stage) -> "QuerySet[Acquisition]":
    """The acquisitions that an annotate stage waits for: those of its round."""
    return Acquisition.objects.filter(stage__round=stage.round_id)


def budget_left(campaign: Campaign) -> int:
    """Labels that may still be asked for; what people skipped cost nothing."""
    return max(0, campaign.budget - campaign.acquisitions.filter(skipped_at=None).count())


def _locked(campaign_id: int) -> Campaign | None:
    return Campaign.objects.select_for_update().filter(pk=campaign_id, closed_at=None).first()


def _collect_answers(one: Round) -> None:
    stage = one.stages.filter(status=Status.WAITING).first()
    if stage is None:
        return
    reason = _why_enough(stage, now=timezone.now())
    if reason:
        collect(stage, reason)


def collect(stage: Stage, reason: str) -> bool:
    """Close an annotate stage with the answers that are there; whether it was us."""
    asked = questions_of(stage)
    answered, skipped = asked.exclude(label=None).count(), asked.exclude(skipped_at=None).count()
    return transitions.collect(stage, reason, {"asked": asked.count(), "answered": answered, "skipped": skipped})


def _why_enough(stage: Stage, *, now: datetime) -> str | None:
    """Why people have answered enough, in words; None while they have not."""
    campaign = stage.round.campaign
    if not missing_answers(stage):
        return "enough is answered"
    if campaign.enough_hours is None or stage.started_at is None:
        return None
    if now - stage.started_at < timedelta(hours=campaign.enough_hours):
        return None
    if not questions_of(stage).exclude(label=None).exists():
        return None  # nothing to train on
    return f"{campaign.enough_hours} hours have passed"


def _may_be_cut_short(one: Round) -> bool:
    """A later batch gives way to a trigger; the first one does not: validation and test need its labels."""
    return one.number > 0 and waits_for_people(one)


def _next_round(campaign: Campaign, last: Round | None, *, asked_by: object) -> Round | None:
    """The round opened now, if the rule says so; closes the campaign when none is left to open."""
    now = timezone.now()
    if last is not None and is_over(last) and _is_final(campaign, last):
        if not _is_cancelled(last):  # that one a person may still retry
            campaigns.mark_closed(campaign, now)
        return None
    reason = why_open_next_round(campaign, now=now, asked_by=asked_by)
    if _clock_is_due(campaign, now):
        # Answered, also where there was nothing new to train on: a missed time catches up once.
        Campaign.objects.filter(pk=campaign.pk).update(clock_seen_at=now)
    if reason is None:
        return None
    for stage in last.stages.filter(status=Status.WAITING) if last is not None else ():
        collect(stage, f"the next round opens: {reason}")
    return _open(campaign, last, reason)


def _open(campaign: Campaign, last: Round | None, reason: str) -> Round:
    labels = campaign.labels().count()
    number = last.number + 1 if last is not None else int(not _asked_at_first(campaign))
    one = Round.objects.create(
        campaign=campaign, number=number, opened_because=reason[:200], labels_at_opening=labels
    )  # fmt: skip
    asked = _asked_later(campaign, number) if number else _asked_at_first(campaign)
    plans = [
        plan for plan in (campaign.recipe["stages"] if number else FIRST_ROUND)
        if asked or plan["kind"] not in ASKING
    ]  # fmt: skip
    Stage.objects.bulk_create(
        Stage(
            round=one, position=position, kind=plan["kind"], name=plan["name"],
            settings={**plan["settings"], "count": asked} if plan["kind"] == "acquire" else plan["settings"],
        )
        for position, plan in enumerate(plans)
    )  # fmt: skip
    return one


def _asked_at_first(campaign: Campaign) -> int:
    """How many labels round 0 asks for: those of its batch that are not there yet."""
    there = campaign.labels().filter(image__in=campaigns.askable(campaign)).count()
    return min(max(0, campaign.first_batch - there), campaign.budget)


def _asked_later(campaign: Campaign, number: int) -> int:
    """How many labels a training round asks for; the last one asks nobody: no training would use the answers."""
    if number >= campaign.max_rounds:
        return 0
    unasked = campaigns.pool(campaign).exclude(acquisitions__campaign=campaign)
    return min(campaign.batch, budget_left(campaign), unasked.count())


def _is_final(campaign: Campaign, one: Round) -> bool:
    """Whether no round follows: all are trained, or this one asks nobody, so the next would learn nothing new."""
    return one.number >= campaign.max_rounds or not one.stages.filter(kind="annotate").exists()


def _is_cancelled(one: Round) -> bool:
    return one.stages.filter(status=Status.CANCELLED).exists()


def _current_stage(one: Round) -> Stage | None:
    return one.stages.exclude(status=Status.DONE).select_related("round__campaign").first()


def _first_pending(one: Round) -> Stage | None:
    stage = _current_stage(one)
    return stage if stage is not None and stage.status == Status.PENDING else None


def _clock_is_due(campaign: Campaign, now: datetime) -> bool:
    return bool(campaign.clock) and clock.next_due(campaign.clock, campaign.clock_seen_at) <= now


def _new_labels(campaign: Campaign, last: Round) -> int:
    """Labels that count and came since the round opened; a correction is new too."""
    return campaign.labels().filter(created_at__gt=last.opened_at).count()


def _in_words_while_waiting(campaign: Campaign, last: Round, stage: Stage) -> str:
    missing = missing_answers(stage)
    if last.number == 0:
        return f"label {_count(missing, 'image')} first"
    if campaign.label_trigger:
        missing = min(missing, max(0, campaign.label_trigger - _new_labels(campaign, last)))
    return f"next training: {_count(missing, 'more label')}{_or_the_clock(campaign)}"


def _in_words_between_rounds(campaign: Campaign, last: Round) -> str:
    if _is_cancelled(last):
        return f"round {last.number} was cancelled: " + (
            "retry it or close the campaign" if _is_final(campaign, last) else "retry it or start the next"
        )
    new = _new_labels(campaign, last)
    if campaign.label_trigger:
        missing = max(0, campaign.label_trigger - new)
        return f"next training: {_count(missing, 'more label')}{_or_the_clock(campaign)}"
    if campaign.clock:
        return f"next training: {_clock_in_words(campaign)}{'' if new else ', once there is a new label'}"
    return "next training: within a minute"


def _or_the_clock(campaign: Campaign) -> str:
    return f", or {_clock_in_words(campaign)}" if campaign.clock else ""


def _clock_in_words(campaign: Campaign) -> str:
    now = timezone.now()
    return clock.in_words(clock.next_due(campaign.clock, now), now)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
