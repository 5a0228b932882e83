"""Making, steering and closing campaigns, and which images they may ask about."""

import json
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from catalog.models import Image, Project, Split
from ml import spec
from ml.recipes import frozen_copy
from rounds import clock as clocks
from rounds import doorbell, transitions
from rounds.models import Campaign, Round


def create_campaign(
    project: Project,
    *,
    name: str,
    recipe_name: str,
    overrides: dict[str, Any] | None = None,
    acquire: dict[str, Any] | None = None,
    select: dict[str, Any] | None = None,
    seed: int = 0,
    budget: int,
    first_batch: int,
    batch: int,
    max_rounds: int,
    scripted: bool = False,
    label_trigger: int | None = None,
    clock: str = "",
    created_by: User | None = None,
) -> Campaign:
    """A campaign with a frozen copy of its recipe; its first round opens at the next ring or sweep.

    acquire: laid over the recipe's settings of what to ask, as `strategy`.  select: over those of accepting.

    Raises:
        KeyError: no such recipe.
        ValueError: no such strategy.
        ValidationError: its figures contradict each other, or the project already has an open campaign for people.
    """
    campaign = Campaign(
        project=project, name=name, recipe_name=recipe_name,
        recipe=frozen_copy(recipe_name, overrides, acquire=acquire, select=select), seed=seed,
        budget=budget, first_batch=first_batch, batch=batch, max_rounds=max_rounds, scripted=scripted,
        label_trigger=label_trigger, clock=clock, created_by=created_by,
    )  # fmt: skip
    if problems := contradictions(campaign):
        raise ValidationError(problems)
    campaign.full_clean()
    begin(campaign)
    return campaign


def begin(campaign: Campaign) -> None:
    """Save a new campaign that was found free of contradictions, and ring for its first round."""
    campaign.save()
    doorbell.ring_advance(campaign.pk)


def contradictions(campaign: Campaign) -> list[str]:
    """One sentence for each reason why the campaign could not run."""
    possible = [
        "Round 0 needs at least one image to label." if not campaign.first_batch else None,
        "At least one training round is needed." if not campaign.max_rounds else None,
        f"The budget ({campaign.budget}) must cover the first batch ({campaign.first_batch})."
        if campaign.budget < campaign.first_batch
        else None,
        f"A script answers from given truth, and the images of {campaign.project} are not marked as a benchmark."
        if campaign.scripted and not campaign.project.benchmark
        else None,
        None if campaign.scripted else _rival_problem(campaign),
        clock_problem(campaign.clock),
        _training_problem(campaign.recipe["train"]),
    ]
    return [sentence for sentence in possible if sentence]


def clock_problem(clock: str) -> str | None:
    """Why the crontab cannot be followed; None when it can, or when there is none."""
    try:
        if clock:
            clocks.next_due(clock, timezone.now())
    except ValidationError as problem:
        return str(problem.message)
    return None


def set_triggers(campaign: Campaign, *, label_trigger: int | None, clock: str) -> None:
    """Change when the next round opens; a new clock counts from now, not from when the campaign was made."""
    if clock:
        clocks.parse(clock)
    with transaction.atomic():
        locked = Campaign.objects.select_for_update().get(pk=campaign.pk)
        if locked.clock != clock:
            locked.clock_seen_at = timezone.now()
        locked.clock, locked.label_trigger = clock, label_trigger
        locked.save(update_fields=["clock", "clock_seen_at", "label_trigger"])
    doorbell.ring_advance(campaign.pk)


def askable(campaign: Campaign) -> QuerySet[Image]:
    """Images people may be asked about at random.

    A benchmark knows the truth of its validation and test images; in one's own project people give it.
    """
    images = campaign.project.images.filter(kept_out="")
    return images.filter(split=Split.TRAIN) if campaign.project.benchmark else images


def pool(campaign: Campaign) -> QuerySet[Image]:
    """Training images without a label that counts."""
    images = campaign.project.images.filter(kept_out="", split=Split.TRAIN)
    return images.exclude(pk__in=campaign.labels().values("image"))


@transaction.atomic
def cancel_round(one: Round, by: object) -> int:
    """How many stages were cancelled; a running one's process ends within five seconds."""
    _lock(one)
    stages = one.stages.select_for_update().filter(status__in=transitions.CANCELLABLE)
    return sum(transitions.cancel(stage, str(by)) for stage in stages)


@transaction.atomic
def retry_round(one: Round, by: object) -> int:
    """How many failed or cancelled stages were put back in line.

    Raises:
        ValidationError: a later round is open already, or the campaign is closed.
    """
    campaign = _lock(one)
    if campaign.closed_at or campaign.rounds.filter(number__gt=one.number).exists():
        raise ValidationError(f"{one} is over: only the latest round of an open campaign can be retried.")
    stages = one.stages.select_for_update().filter(status__in=transitions.RETRYABLE)
    doorbell.ring_advance(campaign.pk)
    return sum(transitions.retry(stage, str(by)) for stage in stages)


@transaction.atomic
def close(campaign: Campaign, by: object) -> None:
    """End the campaign before its time: its open round is cancelled, what was learnt and labelled stays."""
    last = campaign.rounds.last()
    if last is not None:
        cancel_round(last, by)
    mark_closed(campaign, timezone.now())


def mark_closed(campaign: Campaign, now: datetime) -> None:
    """Nothing opens in the campaign from now on."""
    Campaign.objects.filter(pk=campaign.pk, closed_at=None).update(closed_at=now)


def _lock(one: Round) -> Campaign:
    """The campaign's row first, as `schedule` does: one order of locks, no deadlock."""
    return Campaign.objects.select_for_update().get(pk=one.campaign_id)


def _rival_problem(campaign: Campaign) -> str | None:
    rival = Campaign.objects.filter(project=campaign.project, scripted=False, closed_at=None).first()
    return f"{campaign.project} has an open campaign for people already: close {rival} first." if rival else None


def _training_problem(train: dict[str, Any]) -> str | None:
    """Why the settings are no TrainSpec; None when they are."""
    try:
        spec.from_json(spec.TrainSpec, json.dumps({"classes": [], "labelled": [], **train}))
    except spec.SpecError as problem:
        return f"Training settings: {problem}"
    return None
