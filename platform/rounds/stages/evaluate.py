"""Measure the round's models on validation and test images. Test is read here and decides nothing."""

from dataclasses import dataclass

from django.conf import settings

from catalog import files
from catalog.models import Split
from ml.spec import EvaluateResult, EvaluateSpec, Figures, Sample, read
from rounds import outputs, transitions
from rounds.models import Campaign, Evaluation, ModelVersion, Stage, StageFile


@dataclass(frozen=True)
class Measured:
    """One split, and the figures of each model on it."""

    split: Split
    images: int
    figures: tuple[Figures, ...]


def run(stage: Stage) -> None:
    """Leave an Evaluation per model and split; a split without truth is left out with a note."""
    models = list(
        ModelVersion.objects.filter(stage__round=stage.round_id).select_related("stage").order_by("stage__position")
    )
    truth = {split: samples(stage.round.campaign, split) for split in (Split.VAL, Split.TEST)}
    measured = [_measure(stage, models, split, found) for split, found in truth.items() if found]
    left = outputs.left_behind(stage) if measured else []
    rows = [
        _evaluation(stage, model, one, figures)
        for one in measured for model, figures in zip(models, one.figures, strict=True)
    ]  # fmt: skip

    def write() -> None:
        StageFile.objects.bulk_create(left)
        Evaluation.objects.bulk_create(rows)

    # Of the loop's last model; one that was distilled from it stands in the table.
    last = max((at for at, model in enumerate(models) if model.stage.kind != "distil"), default=-1)
    notes = [f"No {split.label} image has a known mask: nothing measured there." for split in truth if not truth[split]]
    transitions.finish(stage, write, {"summary": _summary(measured, last), "notes": notes})


def samples(campaign: Campaign, split: Split) -> tuple[Sample, ...]:
    """Images of a split with their truth: given for a benchmark, otherwise the label that counts."""
    if campaign.project.benchmark:
        images = campaign.project.images.filter(split=split, kept_out="", reference__isnull=False)
        truth = [(image, image.reference.path) for image in images.select_related("reference").order_by("pk")]
    else:
        labels = campaign.labels().filter(image__split=split).select_related("image").order_by("image_id")
        truth = [(label.image, label.path) for label in labels]
    return tuple(
        Sample(id=str(image.pk), image=str(files.absolute(image.view)), mask=str(files.absolute(path)))
        for image, path in truth
    )


def _measure(stage: Stage, models: list[ModelVersion], split: Split, found: tuple[Sample, ...]) -> Measured:
    told = EvaluateSpec(
        classes=tuple(stage.round.campaign.project.class_names()),
        checkpoints=tuple(str(files.absolute(model.path)) for model in models),
        samples=found,
        **{"threads": settings.TRAINING_THREADS, **stage.round.campaign.recipe["predict"]},
    )
    result = read(EvaluateResult, outputs.compute(stage, "evaluate", told, part=split.value), "result.json")
    return Measured(split, result.images, result.figures)


def _evaluation(stage: Stage, model: ModelVersion, one: Measured, figures: Figures) -> Evaluation:
    return Evaluation(
        stage=stage, model=model, split=one.split, images=one.images,
        confusion=[list(row) for row in figures.confusion],
        miou=figures.miou, miou_foreground=figures.miou_foreground, iou=list(figures.iou),
    )  # fmt: skip


def _summary(measured: list[Measured], last: int) -> str:
    if not measured:
        return "nothing measured: no validation or test image has a known mask"
    return ", ".join(
        f"{one.split.label} mIoU {100 * one.figures[last].miou:.1f} % ({one.images} images)" for one in measured
    )
