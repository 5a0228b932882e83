"""Accept the most trustworthy predictions as pseudo-labels."""

from math import floor, isfinite

from catalog import files
from rounds import outputs, transitions
from rounds.models import Prediction, PseudoLabel, Stage, StageFile


def run(stage: Stage) -> None:
    """Leave a PseudoLabel for each accepted prediction, and both lists of image names, the best first."""
    ranked = ranking(stage)
    count = floor(stage.settings["share"] * len(ranked))
    accepted, refused = ranked[:count], ranked[count:]
    rule = rule_in_words(stage.settings["share"], accepted)
    write_names(stage, "reliable_ids.txt", accepted)
    write_names(stage, "unreliable_ids.txt", refused)
    left = outputs.left_behind(stage)

    def write() -> None:
        StageFile.objects.bulk_create(left)
        PseudoLabel.objects.bulk_create(
            PseudoLabel(stage=stage, prediction=one, image=one.image, reliability=one.reliability, rule=rule)
            for one in accepted
        )

    transitions.finish(stage, write, {"summary": f"{count} of {len(ranked)} accepted: {rule}", "accepted": count})


def ranking(stage: Stage) -> list[Prediction]:
    """The predictions of the stage before, the most trustworthy first; ties keep the order of the images."""
    before = Stage.objects.filter(round=stage.round_id, kind="predict", position__lt=stage.position).last()
    if before is None:
        raise ValueError(f"{stage}: expected a predict stage before it, found none. Correct the recipe.")
    predictions = before.predictions.select_related("image").order_by("image_id")
    return sorted(predictions, key=trust, reverse=True)


def trust(one: Prediction) -> float:
    """Reliability where it was scored, else confidence.

    Raises:
        ValueError: the score is not a number.
    """
    score = one.confidence if one.reliability is None else one.reliability
    if not isfinite(score):
        raise ValueError(f"Expected a finite score for {one.image}, got {score}. Predict again.")
    return score


def rule_in_words(share: float, accepted: list[Prediction]) -> str:
    """What accepted them, for people."""
    if share >= 1:
        return "all of them"
    score = "confidence" if accepted and accepted[0].reliability is None else "reliability"
    least = f", {score} {trust(accepted[-1]):.3f} and up" if accepted else ""
    return f"the top {share:.0%} by {score}{least}"


def write_names(stage: Stage, name: str, predictions: list[Prediction]) -> None:
    """One image name a line."""
    text = "".join(f"{one.image.name}\n" for one in predictions)
    files.write_once(outputs.path_of(stage, name), text.encode())
