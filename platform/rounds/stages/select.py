"""Accept the most trustworthy predictions as pseudo-labels."""

from catalog import files
from ml import selection
from ml.selection import trust
from rounds import outputs, transitions
from rounds.models import Prediction, PseudoLabel, Stage, StageFile


def run(stage: Stage) -> None:
    """Leave a PseudoLabel for each accepted prediction, and both lists of image names, the best first."""
    accepted, refused = selection.divided(latest(stage), stage.settings["share"])
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

    transitions.finish(
        stage,
        write,
        {"summary": f"{len(accepted)} of {len(accepted) + len(refused)} accepted: {rule}", "accepted": len(accepted)},
    )


def latest(stage: Stage) -> list[Prediction]:
    """The predictions of the stage before, in the order of the images."""
    before = Stage.objects.filter(round=stage.round_id, kind="predict", position__lt=stage.position).last()
    if before is None:
        raise ValueError(f"{stage}: expected a predict stage before it, found none. Correct the recipe.")
    return list(before.predictions.select_related("image").order_by("image_id"))


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
