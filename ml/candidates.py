"""Images that people may be asked about: what a model says of them, and what their answers cost (numpy only)."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

SHOWN = 0.002  # of the pixels from which on a class counts as predicted: less is stray
FEWEST = 10  # answers from which on a time per pixel is worth fitting
TINY = 1e-12


@dataclass(frozen=True)
class Candidate:
    """An image that may be asked about; what a model says of it is missing as long as none has seen it.

    minutes: what its answer is expected to take; all alike where nothing is known.
    """

    id: str
    scene: Hashable
    uncertainty: float | None = None  # [0, 1], up = less sure
    class_pixels: tuple[int, ...] = ()  # predicted pixels per class, background first
    margin: float | None = None  # [0, 1], up = the two likeliest classes are further apart
    class_uncertainty: tuple[float, ...] = ()  # [0, 1] per defect class
    disagreement: float | None = None  # [0, 1], up = two models' masks have less in common
    embedding: tuple[float, ...] = ()  # of unit length
    minutes: float = 1.0


@dataclass(frozen=True)
class Pick:
    """An image to ask about, and why, in words."""

    id: str
    reason: str


@dataclass(frozen=True)
class Ask:
    """What is wanted of a batch.

    images: at most so many.  minutes: at most so many expected ones.  Scores count per expected minute.
    power: the noise on the logarithm of a score has deviation 1.28 / power; only strategies with noise look at it.
    classes: names of the defect classes, for the reasons.
    """

    images: int
    minutes: float | None = None
    power: float = 1.0
    classes: tuple[str, ...] = ()


Picks = Iterator[tuple[Candidate, str]]  # with the reason, the most useful first; may go on beyond what is asked


def shuffled(pool: Iterable[Candidate], rng: Generator) -> list[Candidate]:
    """In random order, whatever the order they come in."""
    ordered = sorted(pool, key=lambda candidate: candidate.id)
    return [ordered[index] for index in rng.permutation(len(ordered))]


def shown(class_pixels: Sequence[int]) -> list[int]:
    """The defect classes that a prediction shows.  class_pixels: of each class, background first."""
    places: list[int] = np.flatnonzero(classes_shown([class_pixels])[0]).tolist()
    return [index for index in places if index]


def classes_shown(pixels: ArrayLike) -> NDArray[np.bool_]:
    """(N, K) bool: which classes a mask shows by more than stray pixels; the first column: that it shows none.

    pixels: (N, K) counts of each class, background first.
    """
    counts = np.asarray(pixels)
    shows: NDArray[np.bool_] = counts > SHOWN * counts.sum(axis=1, keepdims=True)
    shows[:, 0] = ~shows[:, 1:].any(axis=1)
    return shows


def expected_minutes(wanted: Sequence[int], known: Sequence[tuple[int, float]]) -> list[float]:
    """Minutes that answers will take, by their predicted defect pixels.

    known: (predicted defect pixels, seconds) of earlier answers. From ten of them on a time for opening and one per
    pixel, by least squares; before that, or where defects take no longer, their mean; 1 where there are none.
    """
    if not known:
        return [1.0] * len(wanted)
    pixels, seconds = np.array(known, dtype=np.float64).T
    mean = max(float(seconds.mean()), TINY)
    if len(known) < FEWEST or np.ptp(pixels) == 0:
        return [mean / 60] * len(wanted)
    per_pixel, opening = (float(one) for one in np.polyfit(pixels, seconds, 1))
    if per_pixel <= 0:
        return [mean / 60] * len(wanted)
    least = float(seconds.min())  # a line through few answers may begin below zero
    return [max(opening + per_pixel * one, least, TINY) / 60 for one in wanted]
