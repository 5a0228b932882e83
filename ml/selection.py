"""What a stage of a round does with its settings, for campaigns on the server and simulated ones (no torch)."""

from collections.abc import Mapping, Sequence
from math import floor, isfinite
from typing import Any, Protocol, TypeVar


class Trusted(Protocol):
    """A prediction as the platform or a result keeps it."""

    @property
    def confidence(self) -> float: ...

    @property
    def reliability(self) -> float | None: ...


One = TypeVar("One", bound=Trusted)


def trust(one: Trusted) -> float:
    """Reliability where it was scored, else confidence.

    Raises:
        ValueError: the score is not a number.
    """
    score = one.confidence if one.reliability is None else one.reliability
    if not isfinite(score):
        raise ValueError(f"Expected a finite score for {one}, got {score}. Predict again.")
    return score


def divided(predictions: Sequence[One], share: float) -> tuple[list[One], list[One]]:
    """Accepted and refused, each the most trustworthy first; ties keep their order."""
    ranked = sorted(predictions, key=trust, reverse=True)
    count = floor(share * len(ranked))
    return ranked[:count], ranked[count:]


def looks_at_pool(kind: str, settings: Mapping[str, Any]) -> bool:
    """Whether a training is shown images without label and pseudo-label; a distillation is, unless told not to."""
    return bool(settings.get("unlabelled", kind == "distil"))


def training(
    recipe: Mapping[str, Any], settings: Mapping[str, Any], *, latest: str | None, labels: int, pseudo: int
) -> dict[str, Any]:
    """Fields of TrainSpec: the recipe's, the stage's over them.

    latest: checkpoint that a warm start begins with.  labels, pseudo: how many images the training has of each.
    """
    whole = recipe["train"]
    values = {**whole, **settings}
    for ours in ("pseudo", "unlabelled", "teachers"):  # settings of the stage that are not of the training
        values.pop(ours, None)
    if values.pop("warm_start", False):
        values["start_from"] = latest
    if values.pop("same_epochs", False):
        epochs = whole["steps"] * whole["batch"] / labels
        values["steps"] = max(1, round(epochs * max(labels, pseudo) / values["batch"]))
    return values


def predicting(
    recipe: Mapping[str, Any], settings: Mapping[str, Any], *, checkpoints: Sequence[str], first: str
) -> dict[str, Any]:
    """Fields of PredictSpec, checkpoints included.

    checkpoints: of the latest model, earliest first.  first: of the round's first model, which taught it; where that is
    the latest as well, its own state before the last third is the second opinion.
    """
    values = {**recipe["predict"], **settings}
    values.pop("on")
    if values.pop("second", False):
        values["second"] = first if first != checkpoints[-1] else checkpoints[-2:][0]
    values["checkpoints"] = tuple(checkpoints) if values.pop("stability", False) else tuple(checkpoints[-1:])
    return values
