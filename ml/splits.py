"""Splits that never cut through a scene, label ratios nested in each other, and what given splits leak (numpy only)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ml import metrics, scenes

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Surface:
    """A scene: its images by name, and the defect classes that any of them shows."""

    names: tuple[str, ...]
    classes: frozenset[int]


def divide(surfaces: Sequence[Surface], shares: Mapping[str, float], rng: Generator) -> dict[str, list[Surface]]:
    """The surfaces, dealt out by `shares` of the images, each class set by itself as evenly as whole scenes allow.

    shares: split -> its share, adding up to 1.

    Raises:
        ValueError: the shares do not add up.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"expected shares that add up to 1, got {', '.join(map(str, shares.values()))}")
    dealt: dict[str, list[Surface]] = {split: [] for split in shares}
    whole: Counter[str] = Counter()
    for stratum in _strata(surfaces, rng):
        held: Counter[str] = Counter()
        # Large scenes first: small ones even out what they leave.
        for surface in sorted(stratum, key=lambda one: -len(one.names)):
            split = max(shares, key=lambda one: _lack(held, one, shares) + _lack(whole, one, shares) / 2)
            dealt[split].append(surface)
            held[split] += len(surface.names)
            whole[split] += len(surface.names)
    return dealt


def folds(surfaces: Sequence[Surface], count: int, rng: Generator) -> list[list[Surface]]:
    """The surfaces in `count` folds of about as many images, each class set spread over all."""
    return list(divide(surfaces, {str(fold): 1 / count for fold in range(count)}, rng).values())


def nested(surfaces: Sequence[Surface], ratios: Sequence[Fraction], rng: Generator) -> dict[Fraction, list[Surface]]:
    """For each ratio so many of the scenes (at least one), each class set in proportion; a smaller lies in a larger."""
    places = []
    for stratum in _strata(surfaces, rng):
        # A random start per class set: otherwise no rare one would ever be in a small ratio.
        places += [((rank + rng.random()) / len(stratum), surface) for rank, surface in enumerate(stratum)]
    order = [surface for _, surface in sorted(places, key=lambda one: one[0])]
    return {ratio: order[: max(1, round(ratio * len(order)))] for ratio in sorted(ratios)}


def _strata(surfaces: Sequence[Surface], rng: Generator) -> list[list[Surface]]:
    """The surfaces by class set, the commonest first, each in random order."""
    strata: dict[tuple[int, ...], list[Surface]] = defaultdict(list)
    for surface in sorted(surfaces, key=lambda one: one.names):
        strata[tuple(sorted(surface.classes))].append(surface)
    common_first = sorted(strata.items(), key=lambda one: (-len(one[1]), one[0]))
    return [[stratum[place] for place in rng.permutation(len(stratum))] for _, stratum in common_first]


def _lack(held: Counter[str], split: str, shares: Mapping[str, float]) -> float:
    """Images that a split is behind its share."""
    return shares[split] * (held.total() + 1) - held[split]


# --- what a given split leaks -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leak:
    """How far a split cuts through scenes.

    shared: of `of` images of `split`, how many show a scene that `train` shows too.  counts: confusion (K, K) of
    copying the mask of the nearest such image in the pose that fits, background where there is none.
    """

    split: str
    shared: int
    of: int
    counts: NDArray[np.int64]


def leak(  # noqa: PLR0917 - one table of facts per image after the other
    split: str,
    train: Sequence[int],
    held_out: Sequence[int],
    scene: Mapping[int, int],
    descriptors: scenes.Floats,
    masks: Mapping[int, Mask],
    classes: int,
) -> Leak:
    """What `held_out` shares with `train` (places of images), and the look-up baseline on it.

    scene, masks: by place.  descriptors: (N, 16, 16).  classes: K, background included.
    """
    teachers: dict[int, list[int]] = defaultdict(list)
    for place in train:
        teachers[scene[place]].append(place)
    counts = np.zeros((classes, classes), np.int64)
    for place in held_out:
        truth = masks[place]
        copied = _copied(place, teachers[scene[place]], descriptors, masks, truth.shape)
        counts += metrics.confusion(truth, copied, classes)
    return Leak(split, sum(bool(teachers[scene[place]]) for place in held_out), len(held_out), counts)


def in_words(one: Leak) -> str:
    """What a split leaks, and what a look-up scores on it: the figure that every score on it stands beside."""
    if not one.shared:
        return f"{one.split} shares no scene with train: {one.of} images, none of whose surface a training saw."
    return (
        f"{one.split} LEAKS: {one.shared} of its {one.of} images ({100 * one.shared / one.of:.1f} %) show a surface "
        f"that train shows too. Copying the masks from there, without any learning, scores mIoU "
        f"{100 * metrics.mean_iou(one.counts, background=True):.2f} % with background, "
        f"{100 * metrics.mean_iou(one.counts, background=False):.2f} % without: read every score on it beside that."
    )


def _copied(
    place: int, teachers: list[int], descriptors: scenes.Floats, masks: Mapping[int, Mask], size: tuple[int, ...]
) -> Mask:
    if not teachers:
        return np.zeros(size, np.uint8)
    which, pose = scenes.nearest(descriptors[place], descriptors[teachers])
    turned = scenes.turned(masks[teachers[which]], pose)
    rows, columns = (np.arange(wanted) * got // wanted for wanted, got in zip(size, turned.shape, strict=True))
    copied: Mask = turned[np.ix_(rows, columns)]  # a crop may have another size
    return np.where(copied == 255, 0, copied).astype(np.uint8)
