"""What learning curves say: intervals over seeds, area under them, labels needed, and which differ (numpy only)."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Between = tuple[float, float]  # of a number the ends between which it lies; one without an upper end has inf there

# Student's t, 97.5 %, for 1, 2, ... degrees of freedom; beyond, the last: a little too wide.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
      2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)  # fmt: skip
MOST_SIGNS = 16  # pairs whose signs are all tried; beyond, that many thousands are drawn
DRAWS = 100_000


def half_width(values: Floats) -> float:
    """Half of the 95 % interval of the mean, by Student's t; nan of fewer than two values."""
    if len(values) < 2:
        return float("nan")
    degrees = len(values) - 1
    return float(_T[min(degrees, len(_T)) - 1] * values.std(ddof=1) / np.sqrt(len(values)))


def area(budgets: Sequence[float], values: Sequence[float], *, log: bool = False) -> float:
    """Mean height of a curve between its first and last budget, by trapezes; over their logarithm if asked.

    Source: nnActive, `compute_auc`: AUBC. With a single budget it is the value there.
    """
    places = np.log(budgets) if log else np.asarray(budgets, np.float64)
    if len(places) < 2:
        return float(values[0])
    heights = np.asarray(values, np.float64)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(places)).sum() / (places[-1] - places[0]))


def growing(values: Sequence[float]) -> Floats:
    """The nearest values, by least squares, that never fall: neighbours that do are pooled."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while pools and pools[-1][0] >= mean:
            before, held = pools.pop()
            mean, count = (mean * count + before * held) / (count + held), count + held
        pools.append((mean, count))
    return np.array([mean for mean, count in pools for _ in range(count)])


def labels_to(budgets: Sequence[float], values: Sequence[float], target: float) -> float | None:
    """The least labels at which the curve, made to grow, reaches the target; None where it does not.

    Between two budgets on the straight line; where the first one reaches it, that.
    """
    heights = growing(values)
    for place, height in enumerate(heights):
        if height >= target:
            if place == 0:
                return float(budgets[0])
            low, high = heights[place - 1], height
            share = (target - low) / (high - low)
            return float(budgets[place - 1] + share * (budgets[place] - budgets[place - 1]))
    return None


def needed(budgets: Sequence[float], values: Sequence[float], target: float) -> Between:
    """Between what `labels_to` lies: below the first budget and beyond the last nothing is known of a curve."""
    found = labels_to(budgets, values, target)
    if found is None:
        return float(budgets[-1]), math.inf
    return (0.0 if found <= budgets[0] else found), found


def ratio(one: Between, other: Between) -> Between:
    """Between which numbers one / other lies."""
    return one[0] / other[1], one[1] / other[0] if other[0] else math.inf


def seeds_drawn(count: int, rng: np.random.Generator, *, draws: int = 1000) -> NDArray[np.int64]:
    """Places of seeds (draws, count), with replacement, for a bootstrap; curves drawn by the same stay paired."""
    return rng.integers(count, size=(draws, count))


def interval(draws: Sequence[Between]) -> Between:
    """95 % bootstrap interval: below its ends, and above, lies a fortieth of what the draws may have been."""
    low, high = np.array(draws).T
    # No place between two draws: one of them may be infinite.
    return float(np.quantile(low, 0.025, method="lower")), float(np.quantile(high, 0.975, method="higher"))


def sign_flip(differences: Sequence[float], rng: np.random.Generator) -> float:
    """Two-sided p of paired differences: how many of all ways to flip their signs move the mean as far from 0.

    Exact up to 16 pairs. n pairs cannot come below 2 / 2^n: three seeds not below 0.25, six not below 0.031.
    """
    given = np.asarray(differences, np.float64)
    if len(given) <= MOST_SIGNS:
        signs = np.array(list(itertools.product((1, -1), repeat=len(given))))
    else:
        signs = rng.choice((1, -1), (DRAWS, len(given)))
    means = np.abs((signs * given).mean(axis=1))
    return float((means >= abs(given.mean()) - 1e-12).mean())


def holm(values: Sequence[float]) -> list[float]:
    """The p values, corrected for that several were looked at (Holm)."""
    corrected, worst = [0.0] * len(values), 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable").tolist()):
        worst = max(worst, min(1.0, values[place] * (len(values) - rank)))
        corrected[place] = worst
    return corrected
