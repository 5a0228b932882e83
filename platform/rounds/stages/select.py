"""Accept the most trustworthy predictions as pseudo-labels."""

from collections.abc import Sequence
from typing import Any

from catalog import files
from ml import selection
from ml.selection import BY, trust
from ml.spec import PredictResult, read
from rounds import outputs, transitions
from rounds.models import Prediction, PseudoLabel, Stage, StageFile


def run(stage: Stage) -> None:
    """Leave a PseudoLabel for each accepted prediction, and both lists of image names, the best first.

    Raises:
        CollapsedError: they show hardly a defect, though the labels do.
    """
    predicted = predict_stage(stage)
    accepted, refused = selection.divided(predictions_of(predicted), stage.settings)
    selection.refuse_collapse(kept_pixels(predicted, accepted), stage.settings, known=defects_on_labels(stage))
    rule = rule_in_words(stage.settings, accepted)
    write_names(stage, "reliable_ids.txt", accepted)
    write_names(stage, "unreliable_ids.txt", refused)
    left = outputs.left_behind(stage)

    def write() -> None:
        StageFile.objects.bulk_create(left)
        PseudoLabel.objects.bulk_create(
            PseudoLabel(stage=stage, prediction=one, image=one.image, reliability=one.reliability, rule=rule)
            for one in accepted
        )

    transitions.finish(
        stage,
        write,
        {"summary": f"{len(accepted)} of {len(accepted) + len(refused)} accepted: {rule}", "accepted": len(accepted)},
    )


def predict_stage(stage: Stage) -> Stage:
    """The stage whose predictions are judged: the latest before this one."""
    before = Stage.objects.filter(round=stage.round_id, kind="predict", position__lt=stage.position).last()
    if before is None:
        raise ValueError(f"{stage}: expected a predict stage before it, found none. Correct the recipe.")
    return before


def predictions_of(stage: Stage) -> list[Prediction]:
    """In the order of the images."""
    return list(stage.predictions.select_related("image").order_by("image_id"))


def kept_pixels(stage: Stage, predictions: list[Prediction]) -> list[Sequence[int]]:
    """Of each mask the pixels of every class that are not ignored, as the stage that predicted them counted."""
    if not predictions:
        return []
    result = files.absolute(stage.files.get(name="result.json").path)
    kept = {score.id: score.kept_pixels for score in read(PredictResult, result.parent, result.name).scores}
    return [kept[str(one.image_id)] or one.class_pixels for one in predictions]


def defects_on_labels(stage: Stage) -> float:
    """Share of defect pixels on the labels, as this round's prepare stage found it; 0 where none did."""
    prepared = Stage.objects.filter(round=stage.round_id, kind="prepare").first()
    return float(prepared.result.get("defect_share", 0)) if prepared else 0.0


def rule_in_words(settings: dict[str, Any], accepted: list[Prediction]) -> str:
    """What accepted them, for people."""
    if settings["share"] >= 1:
        return "all of them"
    score = settings.get("by", BY)
    score = "confidence" if score == BY and accepted and accepted[0].reliability is None else score
    if settings.get("per_class"):
        return f"the top {settings['share']:.0%} of the images of each class by {score}"
    least = f", {score} {trust(accepted[-1], score):.3f} and up" if accepted else ""
    return f"the top {settings['share']:.0%} by {score}{least}"


def write_names(stage: Stage, name: str, predictions: list[Prediction]) -> None:
    """One image name a line."""
    text = "".join(f"{one.image.name}\n" for one in predictions)
    files.write_once(outputs.path_of(stage, name), text.encode())
