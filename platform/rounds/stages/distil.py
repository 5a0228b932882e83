"""Distil a small network from the round's models, on labels, pseudo-labels and the images that have neither."""

from dataclasses import asdict

from django.db.models import QuerySet

from catalog import files
from catalog.models import Image, Split
from rounds import campaigns
from rounds.models import ModelVersion, PseudoLabel, Stage
from rounds.stages import train


def run(stage: Stage) -> None:
    """Leave a model for the line, whose parents are its teachers, and a snapshot of what it was trained on."""
    labels = train.training_labels(stage)
    pseudo = train.pseudo_labels(stage) if stage.settings.get("pseudo") else []
    unlabelled = list(unlabelled_images(stage, pseudo))
    train.refuse_held_out([*(one.image for one in labels), *(one.image for one in pseudo), *unlabelled])
    teachers = teachers_of(stage)
    distil = stage.settings.get("distil", {}) | {
        "teachers": [str(files.absolute(model.path)) for model in teachers],
        "unlabelled": [asdict(train.sample(image)) for image in unlabelled],
    }
    told = train.train_spec(stage, labels, pseudo, distil=distil)
    train.leave_model(stage, "distil", told, train.snapshot_of(stage, labels, pseudo, unlabelled), parents=teachers)


def unlabelled_images(stage: Stage, pseudo: list[PseudoLabel]) -> QuerySet[Image]:
    """The pool without the images whose pseudo-labels are trained on."""
    pool = campaigns.pool(stage.round.campaign).exclude(pk__in=[one.image_id for one in pseudo])
    return pool.order_by("pk")


def teachers_of(stage: Stage) -> list[ModelVersion]:
    """`teachers` of the recipe: "all" models of this round together, or the "best".

    The best has the highest validation mIoU where the round has measured it already; otherwise it is the latest.
    """
    models = ModelVersion.objects.filter(stage__round=stage.round_id, stage__position__lt=stage.position)
    models = models.exclude(stage__kind="distil").order_by("stage__position")
    if stage.settings.get("teachers") == "all":
        return list(models)
    measured = models.filter(evaluations__split=Split.VAL).order_by("-evaluations__miou").first()
    return [measured or stage.round.latest_model()]
