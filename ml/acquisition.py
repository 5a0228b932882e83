"""Which images to ask people about (numpy only). At most one of a scene, but for `random`: copies teach little.

The order in which the pool is given never matters; the same seed chooses the same.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.random import Generator

from ml.candidates import Ask, Candidate, Pick, Picks, shuffled
from ml.strategies import k_center, most, random, random_classes, random_scenes, stratified_entropy

DEFAULT = "stratified_entropy"
LAST_POWER = 100.0  # how strictly scores rule in the last round of a campaign; 1 in the first (ClaSP PE)

Walk = Callable[[list[Candidate], Ask, Generator], Picks]  # gets the pool in random order, so that ties go by chance


@dataclass(frozen=True)
class Strategy:
    """How to choose, and the fields of a Candidate without which it cannot."""

    walk: Walk
    needs: tuple[str, ...] = ()


ACQUISITION: dict[str, Strategy] = {
    "random": Strategy(random),
    "random_scenes": Strategy(random_scenes),
    "random_classes": Strategy(random_classes, ("class_pixels",)),
    "entropy": Strategy(partial(most, of="uncertainty"), ("uncertainty",)),
    "margin": Strategy(partial(most, of="margin"), ("margin",)),
    "disagreement": Strategy(partial(most, of="disagreement"), ("disagreement",)),
    "power_entropy": Strategy(partial(most, of="uncertainty", noisy=True), ("uncertainty",)),
    "power_margin": Strategy(partial(most, of="margin", noisy=True), ("margin",)),
    "power_disagreement": Strategy(partial(most, of="disagreement", noisy=True), ("disagreement",)),
    "k_center": Strategy(k_center, ("embedding",)),
    "stratified_entropy": Strategy(stratified_entropy, ("uncertainty", "class_uncertainty", "embedding")),
}


def choose(strategy: str, pool: Iterable[Candidate], ask: Ask, rng: Generator) -> list[Pick]:
    """A batch, the most useful first: never more than asked for, no image twice.

    Raises:
        ValueError: there is no such strategy, or a candidate lacks what it needs, or has no number there.
    """
    chosen = named(strategy)
    mixed = shuffled(pool, rng)
    _refuse_incomplete(mixed, strategy, chosen.needs)
    walk = ((candidate, Pick(candidate.id, reason)) for candidate, reason in chosen.walk(mixed, ask, rng))
    return list(islice(_affordable(walk, ask.minutes), max(0, ask.images)))


def named(strategy: str) -> Strategy:
    """Raises ValueError, with the known ones, where none has this name."""
    if strategy not in ACQUISITION:
        raise ValueError(f"acquisition: expected one of {', '.join(ACQUISITION)}, got {strategy!r}")
    return ACQUISITION[strategy]


def power(turn: int, turns: int) -> float:
    """Of the noise in the batch `turn` of `turns`, from 0: 1 in the first, LAST_POWER in the last one.

    Source: ClaSP PE (TMLR 2026), github.com/MIC-DKFZ/nnActive: 100^(t / (T - 1)).
    """
    return float(LAST_POWER ** (min(turn, turns - 1) / (turns - 1))) if turns > 1 else 1.0


def _affordable(walk: Iterator[tuple[Candidate, Pick]], minutes: float | None) -> Iterator[Pick]:
    """Those whose expected minutes still fit; a cheaper one may follow one that is left out."""
    spent = 0.0
    for candidate, pick in walk:
        if minutes is None or spent + candidate.minutes <= minutes:
            spent += candidate.minutes
            yield pick


def _refuse_incomplete(pool: list[Candidate], strategy: str, needs: tuple[str, ...]) -> None:
    for candidate in pool:
        for need in (*needs, "minutes"):
            value = getattr(candidate, need)
            if value is None or value == () or not np.isfinite(value).all():
                raise ValueError(
                    f"candidate {candidate.id}: {strategy} expected numbers as {need}, got {value}; "
                    "predict the pool again, or choose at random"
                )
            if need == "minutes" and value <= 0:
                raise ValueError(f"candidate {candidate.id}: expected minutes above 0, got {value}")
            if len(np.atleast_1d(value)) != len(np.atleast_1d(getattr(pool[0], need))):
                raise ValueError(
                    f"candidate {candidate.id}: expected as long a {need} as candidate {pool[0].id} has; "
                    "predict the whole pool with one model"
                )
