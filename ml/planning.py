"""What a round will cost, told from its frozen recipe before it begins (no torch)."""

import json
from collections.abc import Mapping
from typing import Any

from ml import selection, spec
from ml.spec import TrainSpec

_ONE = [{"id": "some", "image": "some.png"}]  # of how many there are only whether there are any


def image_passes(recipe: Mapping[str, Any], *, labels: int, pool: int) -> dict[str, int]:
    """Images through forward and backward of each training of a round, by the name of its stage.

    recipe: as ml.recipes.frozen_copy gives it.  labels: labelled training images.  pool: those without a label.
    With `stop_after` a training may take less.
    """
    passes = {}
    pseudo = predicted = 0
    for stage in recipe["stages"]:
        kind, settings = stage["kind"], stage["settings"]
        if kind == "predict":
            predicted = pool if settings["on"] == "pool" else pool - pseudo
        elif kind == "select":
            pseudo = min(pool, pseudo + selection.accepted_of(predicted, settings))
        elif kind in {"train", "distil"}:
            passes[stage["name"]] = _of_training(recipe, stage, labels=labels, pseudo=pseudo, pool=pool)
    return passes


def with_passes(recipe: Mapping[str, Any], passes: int, *, labels: int, pool: int) -> dict[str, Any]:
    """The recipe, its trainings as long as makes about `passes` image passes of a round of them, all in proportion.

    labels, pool: as in `image_passes`.
    """
    train = recipe["train"]
    whole = sum(image_passes(recipe, labels=labels, pool=pool).values())
    return {**recipe, "train": {**train, "steps": max(1, round(train["steps"] * passes / whole))}}


def in_words(passes: Mapping[str, int]) -> str:
    """The sum, and what it is made of."""
    parts = ", ".join(f"{name} {count:,}" for name, count in passes.items())
    return f"{sum(passes.values()):,} image passes" + (f" ({parts})" if len(passes) > 1 else "")


def _of_training(recipe: Mapping[str, Any], stage: Mapping[str, Any], *, labels: int, pseudo: int, pool: int) -> int:
    kind, settings = stage["kind"], stage["settings"]
    used = pseudo if settings.get("pseudo") else 0
    shown = pool - used if selection.looks_at_pool(kind, settings) else 0
    told = selection.training(recipe, settings, latest=None, labels=labels, pseudo=used)
    distil: dict[str, Any] | None = {"teachers": []} if kind == "distil" else None
    streams = {"labelled": [], "pseudo": _ONE if used else [], "unlabelled": _ONE if shown else []}
    whole = spec.from_json(TrainSpec, json.dumps({**told, **streams, "classes": [], "distil": distil}))
    return whole.steps * whole.passes_a_step
