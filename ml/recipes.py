"""Recipes: named lists of stages with their settings. Data only; a campaign freezes a copy when it is made.

Importing this module does not import torch. The stage kinds are the keys of `rounds.stages.RUNNERS`; the settings of
a `train` stage are fields of `ml.spec.TrainSpec`, laid over the recipe's `train`.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ml.acquisition import DEFAULT, named
from ml.facts import IN_FACTS
from ml.spec import IMAGENET, WEAK_TO_STRONG


@dataclass(frozen=True)
class StagePlan:
    """One step of a round.

    kind: prepare, train, distil, predict, select, evaluate, acquire or annotate (gate will follow).
    settings, by kind:
      train     fields of TrainSpec that differ from the recipe's `train`; `pseudo`: true trains on all pseudo-labels
                of this round so far; `unlabelled`: true shows it the pool's other images as well; `warm_start`: true
                begins with the weights of the round's latest model; `same_epochs`: true passes over the longer of its
                streams as often as the recipe's `steps` and `batch` pass over the labels
      distil    as train, with the `network` of the student; `distil`: fields of DistilSpec; `teachers`: "best" model of
                the round (by validation where an evaluate stage came before, otherwise the latest) or "all" together;
                the pool is shown unless `unlabelled` is false
      predict   fields of PredictSpec that differ from the recipe's `predict`; `on`: "pool" (every unlabelled training
                image) or "rest" (those without a pseudo-label in this round);
                `stability`: true scores the agreement of the model's checkpoints; `facts`: true leaves what the
                strategy of asking needs, set with it; `second`: true has them compare the masks with those of the
                round's first model, or of the same training before its last third
      select    `share`: how much of the latest predictions to accept (1.0 = all); `by`: "reliability" (the default;
                "confidence" where it is not scored), "stability" or "confidence"; `per_class`: true accepts that share
                of the images of each class; `may_be_background`: true goes on where they show hardly a defect
      acquire   `strategy`: key of ml.acquisition.ACQUISITION; `minutes`: that a batch may be expected to take
    """

    kind: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a round does, in order, and with what settings."""

    summary: str
    train: dict[str, Any]
    stages: tuple[StagePlan, ...]
    predict: dict[str, Any] = field(default_factory=dict)


_TAIL = (
    StagePlan("evaluate", "evaluate"),
    StagePlan("acquire", "choose what to ask", {"strategy": DEFAULT}),
    StagePlan("annotate", "annotate"),
)
# Many small steps of the faster network: what learnt most per minute on two cores (docs/log.md, 2026-11-20).
_TRAIN = {
    "network": {"name": "half_unet", "channels": 1, "width": 16},
    "steps": 3000,
    "batch": 4,
    "crop": 200,
    "optimiser": "adamw",
    "learning_rate": 0.003,
}
# PPL as released: its network and schedule, 58 epochs of NEU-Seg's eighth (453 labels).
_AS_RELEASED = {
    "network": {"name": "ppl_resnet18", "channels": 3},
    "encoder_weights": IMAGENET,
    "steps": 3284,
    "batch": 8,
    "crop": 200,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "head_rate": 10.0,
    "loss": "cross_entropy",
    "weak": "mirror",
    "precision": "fp32",
}
# For the line: our smallest network, from the labels and from what the round's last model says of the whole pool, also
# where its pseudo-labels leave a pixel out.
_DISTIL = StagePlan(
    "distil",
    "distil a small network",
    {
        "network": {"name": "lean", "channels": 1},
        "encoder_weights": None,
        "step": "supervised",
        "distil": {"lessons": [{"loss": "kl", "temperature": 2.0}]},
    },
)


def _once(name: str, **train: Any) -> tuple[StagePlan, ...]:
    """One training a round, with these settings."""
    return (
        StagePlan("prepare", "prepare"),
        StagePlan("train", name, train),
        StagePlan("predict", "predict the pool", {"on": "pool"}),
        *_TAIL,
    )


def _half_by_half(
    *, train: dict[str, Any], predict: dict[str, Any], half: dict[str, Any], both: dict[str, Any]
) -> tuple[StagePlan, ...]:
    """Three trainings a round: on the labels, with the reliable half of the pool, with all of it.

    train: of the later two.  predict: of both predictions that become labels.  half: of accepting the first half.
    both: of accepting either.
    """
    return (
        StagePlan("prepare", "prepare"),
        StagePlan("train", "train on labels"),
        StagePlan("predict", "predict the pool", {"on": "pool", "stability": True, **predict}),
        StagePlan("select", "select the reliable half", {"share": 0.5, **half, **both}),
        StagePlan("train", "train with the reliable half", {"pseudo": True, **train}),
        StagePlan("predict", "predict the rest again", {"on": "rest", **predict}),
        StagePlan("select", "take the rest", {"share": 1.0, **both}),
        StagePlan("train", "train with all pseudo-labels", {"pseudo": True, **train}),
        StagePlan("predict", "predict the pool for people", {"on": "pool"}),
        *_TAIL,
    )


_RECIPES: dict[str, Recipe] = {
    "supervised": Recipe(
        summary="Train on the labels alone; the baseline every other recipe has to beat.",
        train=_TRAIN,
        stages=_once("train on labels"),
    ),
    # Changed from the paper, because each helped (docs/log.md, 2026-11-20 and 21): pixels the teacher doubts are
    # ignored, grey values stay as they are, and a training goes on from the weights of the one before, where the paper
    # starts afresh and trains 7 and 14 times as long. By class, because in one ranking rare defects come last.
    "ppl": Recipe(
        summary="Perturbed progressive learning: the reliable half of the pool first, then the rest (Wu et al., 2023).",
        train=_TRAIN,
        stages=_half_by_half(
            train={"warm_start": True, "step": "label_efficient_cutmix"},
            predict={"threshold": 0.8},
            half={"per_class": True},
            both={},
        ),
    ),
    "st_plus_plus": Recipe(
        summary=(
            "ST++: as ppl, but each training from scratch and as many epochs as the first, strong augmentation, the "
            "half on which checkpoints agree first (Yang et al., 2022)."
        ),
        train=_TRAIN,
        stages=_half_by_half(
            train={"step": "strong_pseudo_labels", "same_epochs": True, "pseudo_weight": 1.0},
            predict={"flip": True, "stable": "masks"},
            half={"by": "stability"},
            both={},
        ),
    ),
    # The teacher is the moving average of the weights; the other settings are those of ConsistencySpec.
    "w2s_ema": Recipe(
        summary=(
            "Weak-to-strong consistency: one training on labels and the pool, which the average of its own weights "
            "labels at every step, where it is sure (after FixMatch, 2020, and UniMatch, 2023)."
        ),
        train=_TRAIN,
        stages=_once("train on labels and the pool", unlabelled=True, step=WEAK_TO_STRONG, average=0.996),
    ),
}


def _distilled(name: str, recipe: Recipe) -> Recipe:
    loop = recipe.stages[: -len(_TAIL)]
    summary = f"As {name}, and every round leaves a small network for the line, taught by the last of its models."
    return replace(recipe, summary=summary, stages=(*loop, _DISTIL, *_TAIL))


RECIPES: dict[str, Recipe] = {
    **_RECIPES,
    **{f"{name}_distilled": _distilled(name, recipe) for name, recipe in _RECIPES.items()},
    # Faults included: normalised grey values wrap around as bytes, one paste mask a batch, the second paste loses the
    # first (all three in its step); images that nobody sees a defect on rank as the most reliable, every pixel of a
    # pseudo-label counts, all in one mean; mirrors are the only poses, and at stride 32 no dilated tap meets the map.
    # Not reproduced: the epoch that was best on the test list, which labelled the pool (test is never read here).
    "ppl_as_released": Recipe(
        summary="PPL with the faults of its published code, for comparison only: never choose it for a product.",
        train=_AS_RELEASED,
        stages=_half_by_half(
            train={"step": "label_efficient_cutmix_as_released", "same_epochs": True, "batch": 4},
            predict={"stable": "masks"},
            half={},
            both={"may_be_background": True},
        ),
    ),
}

DEFAULT_RECIPE = "ppl"


def frozen_copy(
    name: str,
    overrides: dict[str, Any] | None = None,
    *,
    acquire: dict[str, Any] | None = None,
    select: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The recipe as JSON-ready data, with settings over its own.

    overrides: over those of `train`.  acquire: over those of asking.  select: over those of accepting.

    Raises:
        KeyError: the name is unknown; the message lists the known ones.
        ValueError: the same of the strategy in `acquire`.
    """
    if name not in RECIPES:
        raise KeyError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    recipe = asdict(RECIPES[name])
    recipe["train"] |= overrides or {}
    recipe["stages"] = list(recipe["stages"])
    for stage in recipe["stages"]:
        if stage["kind"] == "select":
            stage["settings"] |= select or {}
    _ask_with(recipe["stages"], acquire or {})
    return recipe


def _ask_with(stages: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Lay settings over those of the acquire stages, and let the prediction before them, only that one, leave facts."""
    predicted = None
    for stage in stages:
        if stage["kind"] == "predict":
            predicted = stage
        if stage["kind"] == "acquire":
            stage["settings"] = stage["settings"] | settings
            needs = set(named(stage["settings"]["strategy"]).needs)
            if predicted and needs & set(IN_FACTS):
                predicted["settings"] = predicted["settings"] | {"facts": True, "second": "disagreement" in needs}
