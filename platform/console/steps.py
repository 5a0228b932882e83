"""Where a campaign and its rounds are, in words, and the one thing to do next."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.text import capfirst

from console.words import count, percent
from labelling.models import LabellingProject, Task
from rounds.models import Campaign, Round, Stage, Status
from rounds.schedule import missing_answers, next_step


@dataclass(frozen=True)
class Step:
    """What comes next: a sentence, and the button for it where somebody can press one.

    starts: the button opens a round: a form, for those who may.
    may_start: a round may be opened early, beside what the button offers.
    """

    sentence: str
    button: str = ""
    address: str = ""
    starts: bool = False
    may_start: bool = False


def state_of(stages: Iterable[Stage]) -> Status:
    """The status of a round, which has none of its own: that of its stages which people have to know about."""
    found = {stage.status for stage in stages}
    for status in (Status.FAILED, Status.CANCELLED, Status.WAITING, Status.RUNNING):
        if status in found:
            return status
    if found == {Status.DONE}:
        return Status.DONE
    # Between two stages nothing runs for a moment; the round does.
    return Status.RUNNING if Status.DONE in found else Status.PENDING


def poll_seconds(state: Status) -> int | None:
    """How often a page about this round looks again; None when nothing will change by itself."""
    return {Status.PENDING: 2, Status.RUNNING: 2, Status.WAITING: 5}.get(state)


def step_of(campaign: Campaign, latest: Round | None) -> Step:
    """The next step of a campaign, `latest` being its latest round with its stages prefetched."""
    sentence = f"{capfirst(next_step(campaign))}."
    if campaign.closed_at:
        return Step(sentence)
    start = reverse("start-round", args=[campaign.pk])
    if latest is None:
        return Step(sentence, "Start round 0", start, starts=True)
    state, page = state_of(latest.stages.all()), reverse("round", args=[latest.pk])
    if state in {Status.DONE, Status.CANCELLED}:
        return Step(sentence, f"Start round {latest.number + 1}", start, starts=True)
    if state == Status.FAILED:
        return Step(sentence, f"See why round {latest.number} failed", page)
    queue = _queue_of(campaign)
    if state == Status.WAITING and queue:
        missing = sum(missing_answers(stage) for stage in latest.stages.all() if stage.status == Status.WAITING)
        return Step(sentence, f"Label {count(missing, 'image')}", queue, may_start=True)
    return Step(sentence, f"Watch round {latest.number}", page, may_start=state == Status.WAITING)


def queue_address(project: LabellingProject) -> str:
    """Where Label Studio hands an annotator the next most useful image."""
    return f"{settings.LABEL_STUDIO_PUBLIC_URL}/projects/{project.remote_id}/data?labeling=1"


def task_address(task: Task) -> str:
    """Where Label Studio shows one task; `task.project` is loaded."""
    return f"{settings.LABEL_STUDIO_PUBLIC_URL}/projects/{task.project.remote_id}/data?task={task.remote_id}"


def triggers(campaign: Campaign) -> list[str]:
    """What opens the campaign's next round, one sentence each."""
    found = []
    if campaign.label_trigger:
        found.append(f"After {count(campaign.label_trigger, 'new label')}.")
    if campaign.clock:
        found.append(f"By the clock {campaign.clock} ({settings.TIME_ZONE}), once there is a new label.")
    if not found:
        found.append("As soon as the round before it is complete.")
    return [*found, "By hand, at any time while no stage is computing."]


def enough(campaign: Campaign) -> str:
    """When a round stops waiting for people."""
    share = "all" if campaign.enough_share == 1 else percent(campaign.enough_share)
    answered = f"A round waits for {share} of its batch to be answered"
    if campaign.enough_hours is None:
        return f"{answered}."
    return f"{answered}, or {count(campaign.enough_hours, 'hour')} with at least one answer. Later answers count too."


def _queue_of(campaign: Campaign) -> str:
    """The queue for people; empty where a script answers, or Label Studio holds nothing yet."""
    found = None if campaign.scripted else getattr(campaign, "labelling_project", None)
    return queue_address(found) if found else ""
