"""Masks and scores of unlabelled training images by the round's latest model."""

from django.conf import settings
from django.db.models import QuerySet

from catalog import files
from catalog.models import Image
from ml import selection
from ml.spec import PredictResult, PredictSpec, Sample, read
from rounds import campaigns, outputs, transitions
from rounds.models import ModelVersion, Prediction, PseudoLabel, Stage, StageFile


def run(stage: Stage) -> None:
    """Leave a Prediction for each image; none where no image is left without a label."""
    images = list(images_for(stage))
    if not images:
        transitions.finish(stage, lambda: None, {"summary": "no image is left to predict"})
        return
    model = stage.round.latest_model()
    result = read(PredictResult, outputs.compute(stage, "predict", predict_spec(stage, model, images)), "result.json")
    left = outputs.left_behind(stage)
    rows = [
        Prediction(
            stage=stage, model=model, image_id=int(score.id), member=score.member, uncertainty=score.uncertainty,
            confidence=score.confidence, stability=score.stability, reliability=score.reliability,
            class_pixels=list(score.class_pixels),
        )
        for score in result.scores
    ]  # fmt: skip

    def write() -> None:
        StageFile.objects.bulk_create(left)
        Prediction.objects.bulk_create(rows, batch_size=1000)

    summary = f"{len(rows)} images by model {model.number} in {result.seconds:.0f} s on {result.device}"
    transitions.finish(stage, write, {"summary": summary, "images": len(rows), "device": result.device})


def images_for(stage: Stage) -> QuerySet[Image]:
    """`on` of the recipe: the whole pool, or the rest of it that this round has not accepted yet."""
    images = campaigns.pool(stage.round.campaign).order_by("pk")
    if stage.settings["on"] == "pool":
        return images
    return images.exclude(pk__in=PseudoLabel.objects.filter(stage__round=stage.round_id).values("image"))


def predict_spec(stage: Stage, model: ModelVersion, images: list[Image]) -> PredictSpec:
    """What `ml` is told; earlier checkpoints come along only where their agreement is asked for."""
    campaign = stage.round.campaign
    first = ModelVersion.objects.filter(stage__round=stage.round_id).earliest("stage__position")
    options = selection.predicting(
        campaign.recipe, stage.settings,
        checkpoints=[str(files.absolute(path)) for path in model.checkpoints], first=str(files.absolute(first.path)),
    )  # fmt: skip
    return PredictSpec(
        classes=tuple(campaign.project.class_names()),
        samples=tuple(Sample(id=str(image.pk), image=str(files.absolute(image.view))) for image in images),
        **{"threads": settings.TRAINING_THREADS, **options},
    )
