"""Acquisitions on their way to people: the Label Studio project of a campaign, and one task for each acquisition.

Nothing is remembered on the way. What Label Studio holds already is asked first, by the acquisition in each task's
data, so a worker that died between the import and our rows leaves nothing doubled and nothing lost.
"""

import logging
from collections.abc import Sequence
from html import escape
from typing import Any

from django.conf import settings
from django.db.models import Max, QuerySet
from django.urls import reverse

from annotation import task_json
from annotation.client import LabelStudio, LabelStudioError
from annotation.label_config import label_config
from annotation.masks import ClassInfo
from catalog.models import Project
from labelling import people, studio
from labelling.locks import PUSH, one_at_a_time
from labelling.models import LabellingProject, Task
from labelling.shards import predicted_masks
from rounds.models import Acquisition, Campaign, Status

# Label Studio orders and shows the predictions of one version only, the project's. With a version for each model,
# open tasks of earlier rounds would lose mask and place; so the version is ours, and the model is named in the data.
MODEL_VERSION = "Burnish"
LONGEST_TITLE = 50  # Label Studio refuses more

log = logging.getLogger(__name__)


def unsent(campaign: Campaign) -> QuerySet[Acquisition]:
    """Acquisitions that still have to become a task. A cancelled round asks nobody, until it is retried."""
    open_ones = Acquisition.objects.filter(campaign=campaign, task=None, label=None, skipped_at=None)
    return open_ones.exclude(stage__round__stages__status=Status.CANCELLED)


def push(campaign: Campaign) -> None:
    """Make every acquisition a task. What goes wrong with Label Studio is written to `LabellingProject.error`."""
    if not unsent(campaign).exists():
        return
    with one_at_a_time(PUSH, campaign.pk) as mine:
        if not mine:
            return
        project, _ = LabellingProject.objects.get_or_create(campaign=campaign)
        try:
            with studio.client() as remote:
                _send(remote, project)
        except LabelStudioError as error:
            log.warning("campaign %s could not be pushed: %s", campaign, error)
            project.error = str(error)
        else:
            project.error = ""
        project.save(update_fields=["error"])


def adopt(remote: LabelStudio, project: LabellingProject) -> int:
    """How many acquisitions without a row have a task in Label Studio; their rows are made."""
    waiting = {one.pk: one for one in unsent(project.campaign).select_related("prediction__model")}
    found = remote.tasks_by_acquisition(number(project), waiting.keys())
    if not found:
        return 0
    # Before the rows: once they are there, nobody comes back to set it.
    remote.set_model_version(number(project), MODEL_VERSION)
    Task.objects.bulk_create(
        [
            Task(project=project, acquisition_id=pk, remote_id=task, model_version=_model_name(waiting[pk]))
            for pk, task in found.items()
        ],
        ignore_conflicts=True,
    )
    return len(found)


def certainty(round_number: int, rank: int, size: int) -> float:
    """Score of a task in [0, 1): lower is asked first; newer rounds before older ones, by rank within a round.

    Round n has the span [1 / (n + 2), 1 / (n + 1)): a score never has to change when rounds follow.
    """
    low, high = 1 / (round_number + 2), 1 / (round_number + 1)
    return low + (high - low) * rank / size


def number(project: LabellingProject) -> int:
    """The project's number in Label Studio, which it has after the first push."""
    if project.remote_id is None:
        raise ValueError(f"labelling project {project.pk} was never made in Label Studio: push first")
    return project.remote_id


def _send(remote: LabelStudio, project: LabellingProject) -> None:
    _sync_project(remote, project)
    adopt(remote, project)
    acquisitions = list(_with_all_that_a_task_names(unsent(project.campaign)))
    if not acquisitions:
        return
    remote.import_tasks(number(project), _tasks(project.campaign.project, acquisitions))
    if adopt(remote, project) < len(acquisitions):
        raise LabelStudioError(
            f"Label Studio took {len(acquisitions)} tasks, but does not list all of them in project "
            f"{project.remote_id}. Nothing is lost: the next push looks again."
        )


def _sync_project(remote: LabelStudio, project: LabellingProject) -> None:
    """Make the project there, or bring it up to date: classes and guides may have changed since."""
    campaign = project.campaign
    words: dict[str, str] = {
        "title": f"{campaign.project}: {campaign.name}"[:LONGEST_TITLE],
        "label_config": label_config(_classes(campaign.project)),
        # Finds a project whose creation was never answered; the time tells databases apart that share a Label Studio.
        "description": f"Burnish campaign {campaign.pk} of {campaign.created_at.isoformat()}",
        "instructions": _instructions(campaign.project),
    }
    if project.remote_id is None:
        project.remote_id = remote.find_project(words["description"]) or remote.create_project(**words)
        project.save(update_fields=["remote_id"])
    else:
        remote.update_project(project.remote_id, **words)
    views = settings.VIEWS_DIR / str(campaign.project_id)
    views.mkdir(parents=True, exist_ok=True)
    remote.permit_local_files(project.remote_id, views)
    _ask_to_be_rung(remote, project)
    people.know_administrator(remote)


def _ask_to_be_rung(remote: LabelStudio, project: LabellingProject) -> None:
    url = settings.WEBHOOK_URL + reverse("label-studio-hook")
    try:
        remote.ensure_webhook(number(project), url=url, secret=settings.WEBHOOK_SECRET)
    except LabelStudioError as error:
        log.warning("answers of %s arrive by the poll of each minute only: %s", project, error)


def _tasks(project: Project, acquisitions: Sequence[Acquisition]) -> list[dict[str, Any]]:
    names = project.class_names()
    sizes = _batch_sizes(acquisitions)
    tasks = []
    with predicted_masks() as predicted:
        for one in acquisitions:
            task = task_json.task(
                image=_address(one),
                name=one.image.name,
                acquisition=one.pk,
                score=certainty(one.stage.round.number, one.rank, sizes[one.stage_id]),
                model_version=MODEL_VERSION,
                mask=predicted(one.prediction) if one.prediction else None,
                classes=names,
            )
            task["data"]["model"] = _model_name(one)
            tasks.append(task)
    return tasks


def _batch_sizes(acquisitions: Sequence[Acquisition]) -> dict[int, int]:
    """Stage -> one more than the highest rank it gave, also to acquisitions that are out already."""
    stages = {one.stage_id for one in acquisitions}
    highest = Acquisition.objects.filter(stage__in=stages).values_list("stage").annotate(Max("rank"))
    return {stage: rank + 1 for stage, rank in highest.order_by()}


def _address(acquisition: Acquisition) -> str:
    """Relative, so that it holds at every address under which annotators reach Label Studio."""
    view = (settings.DATA_DIR / acquisition.image.view).relative_to(settings.VIEWS_DIR)
    return task_json.local_file_url(str(view))


def _classes(project: Project) -> list[ClassInfo]:
    return [ClassInfo(one.name, one.colour) for one in project.classes.all()]


def _instructions(project: Project) -> str:
    """HTML that annotators read before they begin: what each class is, as its guide says."""
    guides = "".join(
        f"<h4>{escape(one.name)}</h4><p>{escape(one.guide)}</p>" for one in project.classes.all() if one.guide
    )
    return (
        "<p>Mark every defect with its class and submit. Correct what is drawn already where it is wrong. "
        "Submit an image without a defect as it is. Skip an image only if you cannot say.</p>" + guides
    )


def _model_name(acquisition: Acquisition) -> str:
    return f"v{acquisition.prediction.model.number}" if acquisition.prediction else ""


def _with_all_that_a_task_names(acquisitions: QuerySet[Acquisition]) -> QuerySet[Acquisition]:
    return acquisitions.select_related("image", "stage__round", "prediction__model").order_by("stage__round", "rank")
