"""Which images to ask people about (numpy only). A batch holds at most one image of a scene: its copies teach nothing.

The order in which the pool is given never matters.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """An image that may be asked about; the last two fields are missing as long as no model has seen it."""

    id: str
    scene: Hashable
    uncertainty: float | None = None  # [0, 1], up = less sure
    class_pixels: tuple[int, ...] = ()  # predicted pixels per class, background first


@dataclass(frozen=True)
class Pick:
    """An image to ask about, and why, in words."""

    id: str
    reason: str


def random(pool: Iterable[Candidate], budget: int, rng: np.random.Generator) -> list[Pick]:
    """Up to `budget` scenes, each with the same chance, and an image of each."""
    # Shuffled again, because a scene of many copies tends to stand further up in the first shuffle.
    chosen = _shuffled(_one_per_scene(_shuffled(pool, rng)), rng)
    return [Pick(candidate.id, "drawn at random") for candidate in chosen[:budget]]


def uncertain(pool: Iterable[Candidate], budget: int, rng: np.random.Generator) -> list[Pick]:
    """The images the model is least sure of, most uncertain first; ties by chance.

    Raises:
        ValueError: a candidate has no uncertainty, or one that is no number.
    """
    shuffled = _shuffled(pool, rng)
    for candidate in shuffled:
        if candidate.uncertainty is None or np.isnan(candidate.uncertainty):
            raise ValueError(
                f"candidate {candidate.id}: expected an uncertainty, got {candidate.uncertainty}; "
                "predict the pool first, or choose at random"
            )
    chosen = _one_per_scene(sorted(shuffled, key=lambda candidate: -(candidate.uncertainty or 0.0)))
    return [
        Pick(
            candidate.id,
            f"the model is unsure: uncertainty {candidate.uncertainty:.2f}, place {place} of {len(chosen)} scenes",
        )
        for place, candidate in enumerate(chosen[:budget], start=1)
    ]


ACQUISITION: dict[str, Callable[[Iterable[Candidate], int, np.random.Generator], list[Pick]]] = {
    "random": random,
    "uncertain": uncertain,
}


def _shuffled(pool: Iterable[Candidate], rng: np.random.Generator) -> list[Candidate]:
    ordered = sorted(pool, key=lambda candidate: candidate.id)
    return [ordered[index] for index in rng.permutation(len(ordered))]


def _one_per_scene(candidates: list[Candidate]) -> list[Candidate]:
    """The first candidate of each scene, in order."""
    first: dict[Hashable, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.scene, candidate)
    return list(first.values())
