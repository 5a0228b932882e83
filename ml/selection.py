"""What a stage of a round does with its settings, for campaigns on the server and simulated ones (no torch)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import floor, isfinite
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.candidates import classes_shown


class CollapsedError(ArithmeticError):
    """The pseudo-labels show no defects any more; the message says what to do."""


class Trusted(Protocol):
    """A prediction as the platform or a result keeps it."""

    @property
    def confidence(self) -> float: ...

    @property
    def stability(self) -> float | None: ...

    @property
    def reliability(self) -> float | None: ...

    @property
    def class_pixels(self) -> Sequence[int]: ...


One = TypeVar("One", bound=Trusted)

BY = "reliability"  # the score by which predictions are accepted, unless a stage names another
COLLAPSED = 0.01  # of the labels' share of defect pixels: pseudo-labels with less show none to speak of
FEWEST = 5  # masks: fewer may be clean by chance


def trust(one: Trusted, by: str = BY) -> float:
    """The score of that name; for reliability confidence where it was not scored.

    Raises:
        ValueError: the score is not a number.
    """
    score = one.confidence if by == BY and one.reliability is None else getattr(one, by)
    if score is None or not isfinite(score):
        raise ValueError(f"Expected a finite {by} for {one}, got {score}. Predict again, with stability where needed.")
    return float(score)


def divided(predictions: Sequence[One], settings: Mapping[str, Any]) -> tuple[list[One], list[One]]:
    """Accepted and refused, each the most trustworthy first; ties keep their order.

    settings: `share` of the predictions to accept; `by`: their score; `per_class`: true accepts that share of the
    images of every class, so that those with a defect of which models are less sure are not ranked out. An image
    counts for the rarest class that it shows.
    """
    by = settings.get("by", BY)
    ranked = sorted(predictions, key=lambda one: trust(one, by), reverse=True)
    places = _places_within_classes(ranked) if settings.get("per_class") else [float(n) for n in range(len(ranked))]
    chosen = set(sorted(range(len(ranked)), key=places.__getitem__)[: accepted_of(len(ranked), settings)])
    accepted, refused = ([one for n, one in enumerate(ranked) if (n in chosen) is wanted] for wanted in (True, False))
    return accepted, refused


def accepted_of(count: int, settings: Mapping[str, Any]) -> int:
    """How many of `count` predictions are accepted."""
    share: float = settings["share"]
    return floor(share * count)


def counted_for(shows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,): the class that each image is ranked with, of those it shows the one that fewest show.

    shows: (N, K), as `classes_shown`.
    """
    classes: NDArray[np.int64] = np.where(shows, shows.sum(axis=0), len(shows) + 1).argmin(axis=1)
    return classes


def _places_within_classes(ranked: Sequence[Trusted]) -> list[float]:
    """[0, 1) for each: how many of the same class stand before it, of all of that class. 0 belongs to the best."""
    if not ranked:
        return []
    classes = counted_for(classes_shown([one.class_pixels for one in ranked])).tolist()
    sizes, before = Counter(classes), Counter[int]()
    places = []
    for index in classes:
        places.append(before[index] / sizes[index])
        before[index] += 1
    return places


def refuse_collapse(pixels: Sequence[Sequence[int]], settings: Mapping[str, Any], *, known: float) -> None:
    """Raises CollapsedError when accepted masks show hardly a defect, unless the stage says `may_be_background`.

    pixels: per mask, of each class, background first.  known: share of defect pixels on the labels.
    """
    if len(pixels) < FEWEST or settings.get("may_be_background"):
        return
    background, *defects = (sum(column) for column in zip(*pixels, strict=True))
    found = sum(defects) / max(1, background + sum(defects))
    if found < COLLAPSED * known:
        raise CollapsedError(
            f"Expected pseudo-labels with defects, for the labels show them on {known:.2%} of their pixels; got "
            f"{found:.3%} on {len(pixels)} masks: a model trained on these would unlearn what a defect is. Label more "
            "images, lower the threshold of the prediction, or, where the pool is that clean, begin again with "
            "accept_background."
        )


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
