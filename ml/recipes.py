"""Recipes: named lists of stages with their settings. Data only; a campaign freezes a copy when it is made.

Importing this module does not import torch. The stage kinds are the keys of `rounds.stages.RUNNERS`; the settings of
a `train` stage are fields of `ml.spec.TrainSpec`, laid over the recipe's `train`.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from ml.acquisition import DEFAULT, named
from ml.facts import IN_FACTS
from ml.spec import WEAK_TO_STRONG


@dataclass(frozen=True)
class StagePlan:
    """One step of a round.

    kind: prepare, train, distil, predict, select, evaluate, acquire or annotate (gate will follow).
    settings, by kind:
      train     fields of TrainSpec that differ from the recipe's `train`; `pseudo`: true trains on all pseudo-labels
                of this round so far; `unlabelled`: true shows it the pool's other images as well; `warm_start`: true
                begins with the weights of the round's latest model
      distil    as train, with the `network` of the student; `distil`: fields of DistilSpec; `teachers`: "best" model of
                the round (by validation where an evaluate stage came before, otherwise the latest) or "all" together
      predict   fields of PredictSpec that differ from the recipe's `predict`; `on`: "pool" (every unlabelled training
                image) or "rest" (those without a pseudo-label in this round);
                `stability`: true scores the agreement of the model's checkpoints; `facts`: true leaves what the
                strategy of asking needs, set with it; `second`: true has them compare the masks with those of the
                round's first model, or of the same training before its last third
      select    `share`: how much of the latest predictions to accept, by reliability where it is scored (1.0 = all)
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
# Changed from the paper, because each helped (docs/log.md, 2026-11-20): pixels the teacher doubts are ignored, and a
# training goes on from the weights of the one before, where the paper starts afresh and trains 7 and 14 times as long.
_THRESHOLD = 0.8
_PPL_TRAIN = {"pseudo": True, "warm_start": True, "step": "label_efficient_cutmix"}
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
# The teacher is the moving average of the weights; the other settings of ConsistencySpec are as published.
_W2S_TRAIN = {"unlabelled": True, "step": WEAK_TO_STRONG, "average": 0.996}
_PPL_STAGES = (
    StagePlan("prepare", "prepare"),
    StagePlan("train", "train on labels"),
    StagePlan("predict", "predict the pool", {"on": "pool", "stability": True, "threshold": _THRESHOLD}),
    StagePlan("select", "select the reliable half", {"share": 0.5}),
    StagePlan("train", "train with the reliable half", _PPL_TRAIN),
    StagePlan("predict", "predict the rest again", {"on": "rest", "threshold": _THRESHOLD}),
    StagePlan("select", "take the rest", {"share": 1.0}),
    StagePlan("train", "train with all pseudo-labels", _PPL_TRAIN),
    StagePlan("predict", "predict the pool for people", {"on": "pool"}),
)

RECIPES: dict[str, Recipe] = {
    "supervised": Recipe(
        summary="Train on the labels alone; the baseline every other recipe has to beat.",
        train=_TRAIN,
        stages=(
            StagePlan("prepare", "prepare"),
            StagePlan("train", "train on labels"),
            StagePlan("predict", "predict the pool", {"on": "pool"}),
            *_TAIL,
        ),
    ),
    "ppl": Recipe(
        summary="Perturbed progressive learning: the reliable half of the pool first, then the rest (Wu et al., 2023).",
        train=_TRAIN,
        stages=(*_PPL_STAGES, *_TAIL),
    ),
    "w2s_ema": Recipe(
        summary=(
            "Weak-to-strong consistency: one training on labels and the pool, which the average of its own weights "
            "labels at every step, where it is sure (after FixMatch, 2020, and UniMatch, 2023)."
        ),
        train=_TRAIN,
        stages=(
            StagePlan("prepare", "prepare"),
            StagePlan("train", "train on labels and the pool", _W2S_TRAIN),
            StagePlan("predict", "predict the pool for people", {"on": "pool"}),
            *_TAIL,
        ),
    ),
    "ppl_distilled": Recipe(
        summary="As ppl, and every round leaves a small network for the line, taught by the last of its models.",
        train=_TRAIN,
        stages=(*_PPL_STAGES, _DISTIL, *_TAIL),
    ),
}


def frozen_copy(
    name: str, overrides: dict[str, Any] | None = None, *, acquire: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The recipe as JSON-ready data, with `overrides` laid over its `train` settings, `acquire` over those of asking.

    Raises:
        KeyError: the name is unknown; the message lists the known ones.
        ValueError: the same of the strategy in `acquire`.
    """
    if name not in RECIPES:
        raise KeyError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    recipe = asdict(RECIPES[name])
    recipe["train"] |= overrides or {}
    recipe["stages"] = list(recipe["stages"])
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
