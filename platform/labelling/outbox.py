"""Acquisitions on their way to people: the Label Studio project of a campaign, and one task for each acquisition.

Nothing is remembered on the way. What Label Studio holds already is asked first, by the acquisition in each task's
data, so a worker that died between the import and our rows leaves nothing doubled and nothing lost.
"""

import logging
from collections.abc import Sequence
from html import escape
from typing import Any

from django.conf import settings
from django.db.models import Exists, Max, OuterRef, Q, QuerySet, Subquery
from django.urls import reverse

from annotation import task_json
from annotation.client import LabelStudio, LabelStudioError
from annotation.label_config import label_config
from annotation.masks import ClassInfo
from catalog.locks import Work, one_at_a_time
from catalog.models import Project
from labelling import people, studio
from labelling.models import LabellingProject, Task
from labelling.shards import predicted_masks
from rounds.models import Acquisition, Campaign, Prediction, Status

# Label Studio orders and shows the predictions of one version only, the project's. With a version for each model,
# open tasks of earlier rounds would lose mask and place; so the version is ours, and the model is named in the data.
MODEL_VERSION = "Burnish"
LONGEST_TITLE = 50  # Label Studio refuses more
SPOT_CHECK = 20  # tasks of an import that are looked up again; looking up all took a third of the import's time

log = logging.getLogger(__name__)


def unsent(campaign: Campaign) -> QuerySet[Acquisition]:
    """Acquisitions that still have to become a task. A cancelled round asks nobody, until it is retried."""
    open_ones = Acquisition.objects.filter(campaign=campaign, task=None, label=None, skipped_at=None)
    return open_ones.exclude(stage__round__stages__status=Status.CANCELLED)


def outdated(campaign: Campaign) -> QuerySet[Any]:
    """Open tasks whose image a later round has predicted again, with `newest`, that prediction's id.

    Where people begin blank they go on so: the random slice must not hear from the model.
    """
    of_image = Prediction.objects.filter(
        image=OuterRef("acquisition__image"), stage__round__campaign=campaign,
        stage__round__stages__kind="acquire", stage__round__stages__status=Status.DONE,
    )  # fmt: skip
    later = of_image.filter(
        Q(stage__round__number__gt=OuterRef("prediction__stage__round__number"))
        | Q(
            stage__round=OuterRef("prediction__stage__round"),
            stage__position__gt=OuterRef("prediction__stage__position"),
        )
    )
    newest = of_image.order_by("-stage__round__number", "-stage__position").values("pk")[:1]
    unanswered = Task.objects.filter(
        project__campaign=campaign, deleted_at=None, acquisition__label=None, acquisition__skipped_at=None
    )
    # Asked first whether there is any: two thousand tasks are looked through in milliseconds.
    shown = unanswered.exclude(prediction=None).filter(Exists(later))
    return shown.annotate(newest=Subquery(newest)).order_by("pk")


def push(campaign: Campaign) -> None:
    """Make every acquisition a task, and show every open task's latest mask.

    What goes wrong with Label Studio is written to `LabellingProject.error`.
    """
    if not unsent(campaign).exists() and not outdated(campaign).exists():
        return
    with one_at_a_time(Work.PUSH, campaign.pk) as mine:
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
    # Asking for each costs a fifth of an import. Should one have been deleted there and another be unknown here, the
    # double of that one goes with the next reading (drop_doubles).
    if remote.counts(number(project)).tasks == project.tasks.filter(deleted_at=None).count():
        return 0
    waiting = {one.pk: one for one in unsent(project.campaign)}
    found = remote.tasks_by_acquisition(number(project), waiting.keys())
    if found:
        _keep(remote, project, [(waiting[pk], task) for pk, task in found.items()])
    return len(found)


def drop_doubles(remote: LabelStudio, project: LabellingProject, strangers: set[int]) -> None:
    """Delete those of these tasks that an import made after we had given up on it, beside the task of the next push.

    What people have answered stays.
    """
    named = remote.acquisitions_of_unanswered(number(project), strangers)
    ours = dict(project.tasks.values_list("acquisition", "remote_id"))
    remote.delete_tasks(number(project), [task for task, one in named.items() if ours.get(one, task) != task])


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
    if acquisitions:
        _import(remote, project, acquisitions)
    _show_latest_masks(remote, project)


def _import(remote: LabelStudio, project: LabellingProject, acquisitions: Sequence[Acquisition]) -> None:
    made = remote.import_tasks(number(project), _tasks(project.campaign.project, acquisitions))
    pairs = list(zip(acquisitions, made, strict=True))
    some = {one.pk: task for one, task in pairs[:: len(pairs) // SPOT_CHECK + 1]}
    if remote.tasks_by_acquisition(number(project), some.keys()) != some:
        raise LabelStudioError(
            f"Label Studio took {len(acquisitions)} tasks, but does not list them in project {project.remote_id} as it "
            "said. Nothing is lost: the next push looks at each."
        )
    _keep(remote, project, pairs)


def _keep(remote: LabelStudio, project: LabellingProject, pairs: Sequence[tuple[Acquisition, int]]) -> None:
    # Before the rows: once they are there, nobody comes back to set it.
    remote.set_model_version(number(project), MODEL_VERSION)
    rows = [
        Task(project=project, acquisition=one, remote_id=task, prediction_id=one.prediction_id) for one, task in pairs
    ]
    Task.objects.bulk_create(rows, ignore_conflicts=True)


def _show_latest_masks(remote: LabelStudio, project: LabellingProject) -> None:
    tasks = {one.remote_id: one for one in outdated(project.campaign).select_related("acquisition__image")}
    latest = Prediction.objects.select_related("model").in_bulk([one.newest for one in tasks.values()])
    classes = project.campaign.project.class_names()
    with predicted_masks() as predicted:
        for remote_id, shown in remote.predictions_of(number(project), tasks.keys()).items():
            task = tasks[remote_id]
            prediction = latest[task.newest]
            regions = task_json.regions(predicted(prediction), classes)
            remote.replace_prediction(number(project), shown, regions)
            remote.rename_model(remote_id, _data(task.acquisition, prediction))
            # Last, and one by one: a worker that dies shows the rest what they are shown already.
            Task.objects.filter(pk=task.pk).update(prediction=prediction)


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
            tasks.append({**task, "data": _data(one, one.prediction)})
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


def _data(acquisition: Acquisition, prediction: Prediction | None) -> task_json.Json:
    """A task's data: what the editor shows, and for people the model whose mask it is."""
    model = f"v{prediction.model.number}" if prediction else ""
    return {**task_json.data(_address(acquisition), acquisition.image.name, acquisition.pk), "model": model}


def _with_all_that_a_task_names(acquisitions: QuerySet[Acquisition]) -> QuerySet[Acquisition]:
    return acquisitions.select_related("image", "stage__round", "prediction__model").order_by("stage__round", "rank")
