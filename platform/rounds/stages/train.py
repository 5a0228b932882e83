"""Train a model on the labels that count and, where the recipe says so, on pseudo-labels and images without any."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.db.models import Max, QuerySet

from catalog import files
from catalog.models import Image, Label, Project, Split
from ml import selection
from ml.spec import Sample, TrainResult, TrainSpec, from_json, read
from rounds import campaigns, outputs, transitions
from rounds.models import ModelVersion, PseudoLabel, Snapshot, Stage, StageFile


class HeldOutInTraining(AssertionError):
    """A validation or test image was about to be trained on: a fault of ours, never of the data."""


def run(stage: Stage) -> None:
    """Leave a model, its files, and a snapshot of what it was trained on."""
    leave_model(stage, "train", parents=_teachers(stage))


def leave_model(stage: Stage, verb: str, *, parents: Iterable[ModelVersion], **values: Any) -> None:
    """Run a training and finish the stage with the model it leaves.  values: as of `train_spec`."""
    labels = training_labels(stage)
    pseudo = pseudo_labels(stage) if stage.settings.get("pseudo") else []
    unlabelled = list(unlabelled_images(stage, pseudo)) if selection.looks_at_pool(stage.kind, stage.settings) else []
    refuse_held_out([*(one.image for one in labels), *(one.image for one in pseudo), *unlabelled])
    told = train_spec(stage, labels, pseudo, unlabelled, **values)
    snapshot = snapshot_of(stage, labels, pseudo, unlabelled)
    result = read(TrainResult, outputs.compute(stage, verb, told), "result.json")
    left = outputs.left_behind(stage)

    def write() -> None:
        snapshot.save()
        StageFile.objects.bulk_create(left)
        model = _save_model(stage, told, result, {one.name: one.sha256 for one in left})
        model.parents.set(parents)

    transitions.finish(stage, write, _summary(result, snapshot, began=_began(stage, told, result)))


def training_labels(stage: Stage) -> list[Label]:
    """The labels of training images that count now."""
    labels = stage.round.campaign.labels().filter(image__split=Split.TRAIN)
    return list(labels.select_related("image").order_by("image_id"))


def pseudo_labels(stage: Stage) -> list[PseudoLabel]:
    """This round's pseudo-labels so far, without images that people have labelled in the meantime."""
    labelled = stage.round.campaign.labels().values("image")
    chosen = PseudoLabel.objects.filter(stage__round=stage.round_id, image__split=Split.TRAIN, image__kept_out="")
    return list(chosen.exclude(image__in=labelled).select_related("image", "prediction").order_by("image_id"))


def unlabelled_images(stage: Stage, pseudo: Sequence[PseudoLabel]) -> QuerySet[Image]:
    """The pool without the images whose pseudo-labels are trained on."""
    pool = campaigns.pool(stage.round.campaign).exclude(pk__in=[one.image_id for one in pseudo])
    return pool.order_by("pk")


def refuse_held_out(images: list[Image]) -> None:
    """The queries above cannot return such an image; this says so again, beside the door.

    Raises:
        HeldOutInTraining: one is there all the same.
    """
    for image in images:
        if image.split != Split.TRAIN or image.kept_out:
            why = image.kept_out or f"its split is {image.split}"
            raise HeldOutInTraining(f"Expected training images only, got {image}: {why}.")


def train_spec(
    stage: Stage, labels: list[Label], pseudo: list[PseudoLabel], unlabelled: Sequence[Image], **values: Any
) -> TrainSpec:
    """What `ml` is told: the recipe, this stage's settings over it, the samples, and what must not be among them.

    values: laid over all of them, as in JSON.
    """
    campaign = stage.round.campaign
    shards = {one.stage_id: files.absolute(one.path) for one in shards_of(stage)}
    latest = str(files.absolute(stage.round.latest_model().path)) if stage.settings.get("warm_start") else None
    told = selection.training(
        campaign.recipe, stage.settings, latest=latest, labels=len(labels), pseudo=len(pseudo)
    )  # fmt: skip
    values = {"threads": settings.TRAINING_THREADS} | told | values
    values |= {"classes": campaign.project.class_names(), "labelled": [], "seed": campaign.seed}
    return dataclasses.replace(
        from_json(TrainSpec, json.dumps(values)),
        labelled=tuple(sample(one.image, str(files.absolute(one.path))) for one in labels),
        pseudo=tuple(sample(one.image, f"{shards[one.prediction.stage_id]}/{one.prediction.member}") for one in pseudo),
        unlabelled=tuple(sample(image) for image in unlabelled),
        held_out=held_out(campaign.project),
    )


def held_out(project: Project) -> tuple[str, ...]:
    """Ids of the images that no training may see."""
    images = project.images.exclude(split=Split.TRAIN, kept_out="")
    return tuple(str(pk) for pk in images.order_by("pk").values_list("pk", flat=True))


def shards_of(stage: Stage) -> QuerySet[StageFile]:
    """The files with the predicted masks of this stage's round."""
    return StageFile.objects.filter(stage__round=stage.round_id, name="masks.zip")


def sample(image: Image, mask: str | None = None) -> Sample:
    """An image as `ml` is told of it."""
    return Sample(id=str(image.pk), image=str(files.absolute(image.view)), mask=mask, scene=str(image.scene_id))


def snapshot_of(stage: Stage, labels: list[Label], pseudo: list[PseudoLabel], unlabelled: Sequence[Image]) -> Snapshot:
    """What the training of this stage sees, not saved yet."""
    shards = {one.stage_id: one.sha256 for one in shards_of(stage)}
    seen = [f"{one.image.view_sha256} {one.sha256} label" for one in labels]
    seen += [
        f"{one.image.view_sha256} {shards[one.prediction.stage_id]}/{one.prediction.member} pseudo" for one in pseudo
    ]
    seen += [f"{image.view_sha256} unlabelled" for image in unlabelled]
    return Snapshot(
        stage=stage,
        digest=hashlib.sha256("\n".join(sorted(seen)).encode()).hexdigest(),
        labelled=len(labels),
        pseudo=len(pseudo),
        items=[[one.image_id, one.pk, None] for one in labels]
        + [[one.image_id, None, one.pk] for one in pseudo]
        + [[image.pk, None, None] for image in unlabelled],
    )


def _save_model(stage: Stage, told: TrainSpec, result: TrainResult, sha256: dict[str, str]) -> ModelVersion:
    # Campaigns of one project number their models together.
    project = Project.objects.select_for_update().get(pk=stage.round.campaign.project_id)
    latest = project.models.aggregate(latest=Max("number"))["latest"] or 0
    return ModelVersion.objects.create(
        project=project, stage=stage, number=latest + 1,
        network=told.network.name, parameters=result.parameters,
        path=outputs.path_of(stage, result.checkpoint), sha256=sha256[result.checkpoint],
        checkpoints=[outputs.path_of(stage, name) for name in result.checkpoints],
        image_passes=result.image_passes, seconds=result.seconds,
    )  # fmt: skip


def _teachers(stage: Stage) -> Any:
    """The models whose pseudo-labels this training saw."""
    if not stage.settings.get("pseudo"):
        return ()
    return ModelVersion.objects.filter(predictions__pseudo_labels__stage__round=stage.round_id).distinct()


def _began(stage: Stage, told: TrainSpec, result: TrainResult) -> str:
    """What the weights were at first; empty where there is nothing to tell."""
    models = ModelVersion.objects.filter(stage__round=stage.round_id)
    before = next((one for one in models if told.start_from == str(files.absolute(one.path))), None)
    if before:
        return f"Goes on from the weights of version {before.number}."
    return "" if result.began == "from scratch" else result.began


def _summary(result: TrainResult, snapshot: Snapshot, *, began: str) -> dict[str, Any]:
    pseudo = f" and {snapshot.pseudo} pseudo-labels" if snapshot.pseudo else ""
    steps = f"{result.steps} steps in {result.seconds:.0f} s on {result.device}"
    return {
        "summary": f"{snapshot.labelled} labels{pseudo}, {steps}",
        "device": result.device,
        "loss": result.loss,
        "curve": [list(point) for point in result.curve],
        "notes": [note for note in (began, result.note) if note],
    }
