"""Confusion counts and what is read from them (numpy only).

Every figure here comes from confusion counts; who sums them decides over what it averages. Summed over a whole split
they give the whole-set mIoU of the literature; per image they give one value per image, which averages differently.

What has nothing to be measured on is nan and left out of means: a class that neither truth nor prediction shows, the
recall of a class without a pixel of truth, the precision of one that is never predicted. A class that only the
prediction shows is a false alarm: its IoU is 0 and counts. Pixels whose truth is 255 count nowhere.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.spec import IGNORE, Figures

Mask = NDArray[np.uint8]
Counts = NDArray[np.int64]  # (K, K), or (..., K, K) of several images: rows = truth, columns = prediction


def confusion(truth: Mask, prediction: Mask, classes: int) -> NDArray[np.int64]:
    """Pixel counts (K, K), rows = truth, background first; pixels whose truth is 255 do not count.

    truth, prediction: uint8 of one shape, an image or many.  classes: K, background included.

    Raises:
        ValueError: the shapes differ, or a value is neither a class nor, in the truth, 255.
    """
    return confusion_by_kind(truth, prediction, np.zeros_like(truth), classes=classes, kinds=1)[:, :, 0]


def confusion_by_kind(truth: Mask, prediction: Mask, kind: Mask, *, classes: int, kinds: int) -> NDArray[np.int64]:
    """`confusion` of each kind of pixels (K, K, kinds).  kind: uint8 below `kinds`, of the shape of the masks."""
    check_shapes(truth, prediction)
    if prediction.size and prediction.max() >= classes:
        raise ValueError(f"expected predictions in 0..{classes - 1}, got {prediction.max()}")
    bins = 256 * classes * kinds  # a row for every value there is: what is ignored or no class is counted along
    small = np.min_scalar_type(bins - 1).type
    cells = (truth.astype(small) * small(classes) + prediction) * small(kinds) + kind
    counts = np.bincount(cells.ravel(), minlength=bins).reshape(256, classes, kinds)
    if counts[classes:IGNORE].any():
        strangers = sorted(set(np.unique(truth).tolist()) - {*range(classes), IGNORE})
        raise ValueError(f"expected truth in 0..{classes - 1} and {IGNORE} (ignore), got {strangers}")
    return counts[:classes].astype(np.int64)


def check_shapes(truth: Mask, prediction: Mask) -> None:
    """Raise ValueError unless the two have one shape."""
    if truth.shape != prediction.shape:
        raise ValueError(f"expected truth and prediction of one shape, got {truth.shape} and {prediction.shape}")


def share(part: Any, whole: Any) -> NDArray[np.float64]:
    """One divided by the other, nan where there is no whole."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    values = np.full(part.shape, np.nan)
    np.divide(part, whole, out=values, where=whole > 0)
    return values


def iou(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union per class (..., K) over all pixels counted; nan for a class that nobody shows."""
    hits = _hits(counts)
    return share(hits, counts.sum(axis=-2) + counts.sum(axis=-1) - hits)


def dice(counts: Counts) -> NDArray[np.float64]:
    """2 hits / (predicted + true) per class (..., K), which is also its pixel F1; nan for a class that nobody shows."""
    return share(2 * _hits(counts), counts.sum(axis=-2) + counts.sum(axis=-1))


def precision(counts: Counts) -> NDArray[np.float64]:
    """Share of the pixels predicted as a class (..., K) that are of it; nan for a class that is never predicted."""
    return share(_hits(counts), counts.sum(axis=-2))


def recall(counts: Counts) -> NDArray[np.float64]:
    """Share of the pixels of a class (..., K) that are found, its pixel accuracy; nan where the truth has none."""
    return share(_hits(counts), counts.sum(axis=-1))


def support(counts: Counts) -> NDArray[np.int64]:
    """Pixels of each class in the truth (..., K)."""
    pixels: NDArray[np.int64] = counts.sum(axis=-1)
    return pixels


def mean_present(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan when none is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan


def mean_iou(counts: Counts, *, background: bool) -> float:
    """Mean over the classes present in truth or prediction, with or without background; nan when none is present."""
    return mean_present(iou(counts)[0 if background else 1 :])


def mean_accuracy(counts: Counts) -> float:
    """mPA: mean recall over the classes that the truth shows, background included."""
    return mean_present(recall(counts))


def mean_iou_over_images(counts: Counts, *, background: bool) -> float:
    """Mean over images (N, K, K) of each image's mean IoU: small defects weigh as much as large ones.

    Without background, an image on which truth and prediction are both empty has no value and is left out.
    """
    return mean_present(np.array([mean_iou(one, background=background) for one in counts]))


def defective(counts: Counts) -> NDArray[np.bool_]:
    """Whether each image (N, K, K) shows a defect, in the truth and in the prediction: (N, 2)."""
    return np.stack([counts[:, 1:].any(axis=(1, 2)), counts[:, :, 1:].any(axis=(1, 2))], axis=1)


def image_f1(counts: Counts) -> float:
    """F1 of calling an image (N, K, K) defective as soon as one of its pixels is; nan where nobody sees any defect."""
    truth, found = defective(counts).T
    return float(share(2 * (truth & found).sum(), truth.sum() + found.sum()))


def auroc(is_defective: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Chance that a defective image scores higher than a clean one, ties half; nan where one of the kinds is missing.

    is_defective: (N,) bool.  scores: (N,), up = more surely defective.
    """
    clean = np.sort(scores[~is_defective])
    lower, not_higher = (np.searchsorted(clean, scores[is_defective], side) for side in ("left", "right"))
    return float(share((lower + not_higher).sum() / 2, is_defective.sum() * clean.size))


def image_auroc(counts: Counts) -> float:
    """`auroc` of masks alone: an image's score is the share of its pixels (N, K, K) predicted as a defect."""
    pixels = counts.sum(axis=(1, 2))
    seen = pixels > 0  # an image of nothing but 255 is neither clean nor defective
    scores = share(counts[:, :, 1:].sum(axis=(1, 2)), pixels)
    return auroc(defective(counts)[seen, 0], scores[seen])


def interval(
    per_image: NDArray[np.int64],
    scenes: NDArray[np.int64],
    statistic: Callable[[Any], float],
    *,
    rng: np.random.Generator,
    draws: int = 1000,
) -> tuple[float, float]:
    """95 % bootstrap interval (2.5 and 97.5 percentile) of a statistic of summed counts.

    Scenes are drawn, not images: copies of a surface tell the same thing twice. Draws on which the statistic is nan
    are left out; with fewer than two scenes, or no other draw, both ends are nan.

    per_image: (N, ...) counts that add up.  scenes: (N,) the scene of each image.  statistic: of their sum (...).
    """
    names, places = np.unique(scenes, return_inverse=True)
    if len(names) < 2:
        return math.nan, math.nan
    per_scene = np.zeros((len(names), per_image[0].size))
    np.add.at(per_scene, places, per_image.reshape(len(per_image), -1))
    chosen = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    sums = (chosen @ per_scene).reshape(draws, *per_image.shape[1:])
    values = np.array([statistic(one) for one in sums])
    if np.isnan(values).all():
        return math.nan, math.nan
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def figures(checkpoint: str, counts: NDArray[np.int64]) -> Figures:
    """The whole-set figures of `counts`, a confusion matrix summed over all images of a split."""
    if not counts.any():
        raise ValueError("expected counted pixels, got none: every pixel of the truth is 255 (ignore)")
    foreground = mean_iou(counts, background=False)
    return Figures(
        checkpoint=checkpoint,
        confusion=tuple(tuple(int(n) for n in row) for row in counts),
        iou=tuple(None if math.isnan(value) else float(value) for value in iou(counts)),
        miou=mean_iou(counts, background=True),
        miou_foreground=None if math.isnan(foreground) else foreground,
    )


def _hits(counts: Counts) -> Counts:
    return np.diagonal(counts, axis1=-2, axis2=-1)
