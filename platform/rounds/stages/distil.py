"""Distil a small network from the round's models, on labels, pseudo-labels and images that have neither."""

from catalog import files
from catalog.models import Split
from rounds.models import ModelVersion, Stage
from rounds.stages import train


def run(stage: Stage) -> None:
    """Leave a model for the line, whose parents are its teachers, and a snapshot of what it was trained on."""
    teachers = teachers_of(stage)
    distil = stage.settings.get("distil", {}) | {"teachers": [str(files.absolute(model.path)) for model in teachers]}
    train.leave_model(stage, "distil", parents=teachers, distil=distil)


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
