"""What a campaign has come to, in figures: the demo's summary and the results pages are made from this."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db.models import Count

from catalog.models import Split
from rounds.models import Acquisition, Campaign, Evaluation, ModelVersion, Round, Stage, Status


@dataclass(frozen=True)
class ModelFigures:
    """One model of a round; every mIoU is over one confusion matrix summed over the whole split."""

    stage: str
    model: int
    parameters: int
    image_passes: int
    seconds: float
    miou: dict[str, float]  # split -> mIoU, background included
    miou_foreground: dict[str, float | None]
    iou_test: list[float | None]


@dataclass(frozen=True)
class RoundFigures:
    """One round, as its rows tell it."""

    number: int
    labels: int  # that its trainings saw
    pseudo_labels: int
    asked: dict[str, int]  # purpose -> images sent to people
    answered: int
    seconds: float  # of computing: waiting for people left out
    stages: dict[str, int]  # status -> stages
    models: list[ModelFigures] = field(default_factory=list)


def round_figures(one: Round) -> RoundFigures:
    """The figures of one round; its models in the order in which they were trained."""
    stages = list(one.stages.order_by("position").prefetch_related("model", "snapshot"))
    asked = Acquisition.objects.filter(stage__round=one)
    models = [model_figures(stage.model) for stage in stages if hasattr(stage, "model")]
    snapshots = [stage.snapshot for stage in stages if hasattr(stage, "snapshot")]
    return RoundFigures(
        number=one.number,
        labels=max((snapshot.labelled for snapshot in snapshots), default=0),
        pseudo_labels=max((snapshot.pseudo for snapshot in snapshots), default=0),
        asked=dict(asked.values_list("purpose").annotate(Count("pk"))),
        answered=asked.filter(label__isnull=False).count(),
        seconds=sum(_seconds(stage) for stage in stages if stage.kind != "annotate"),
        stages=dict(Counter(stage.status for stage in stages)),
        models=models,
    )


def model_figures(model: ModelVersion) -> ModelFigures:
    """A model with its evaluations."""
    evaluations: dict[str, Evaluation] = {one.split: one for one in model.evaluations.all()}
    test = evaluations.get(Split.TEST)
    return ModelFigures(
        stage=model.stage.name,
        model=model.number,
        parameters=model.parameters,
        image_passes=model.image_passes,
        seconds=model.seconds,
        miou={split: one.miou for split, one in evaluations.items()},
        miou_foreground={split: one.miou_foreground for split, one in evaluations.items()},
        iou_test=test.iou if test else [],
    )


def campaign_figures(campaign: Campaign) -> dict[str, Any]:
    """JSON-ready figures of the whole campaign."""
    images = Counter(campaign.project.images.filter(kept_out="").values_list("split", flat=True))
    return {
        "project": campaign.project.name,
        "campaign": campaign.name,
        "recipe": campaign.recipe_name,
        "train": campaign.recipe["train"],
        "seed": campaign.seed,
        "classes": campaign.project.class_names(),
        "images": dict(images),
        "labels": campaign.labels().count(),
        "rounds": [asdict(round_figures(one)) for one in campaign.rounds.order_by("number")],
    }


def all_stages_done(campaign: Campaign) -> bool:
    """Whether every stage of every round is done."""
    stages = Stage.objects.filter(round__campaign=campaign)
    return stages.exists() and not stages.exclude(status=Status.DONE).exists()


def _seconds(stage: Stage) -> float:
    if not stage.started_at or not stage.finished_at:
        return 0.0
    return (stage.finished_at - stage.started_at).total_seconds()
