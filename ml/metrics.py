"""Confusion counts and what is read from them (numpy only).

Every figure here comes from one confusion matrix; who sums it decides over what it averages. Summed over a whole split
it gives the whole-set mIoU of the literature; per image it gives one value per image, which averages differently.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ml.spec import IGNORE, Figures


def confusion(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixel counts (K, K), rows = truth, background first; pixels whose truth is 255 do not count.

    truth, prediction: uint8 of one shape, an image or many.  classes: K, background included.

    Raises:
        ValueError: the shapes differ, or a value is neither a class nor, in the truth, 255.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"expected truth and prediction of one shape, got {truth.shape} and {prediction.shape}")
    cells = classes * classes
    # One table look-up finds the row and sorts out 255 and strangers; a mask per condition would be four passes.
    row = np.full(256, cells + classes, dtype=np.uint16)
    row[:classes] = np.arange(classes) * classes
    row[IGNORE] = cells
    if prediction.size and prediction.max() >= classes:
        raise ValueError(f"expected predictions in 0..{classes - 1}, got {prediction.max()}")
    counts = np.bincount((row[truth] + prediction).ravel(), minlength=cells)
    if counts[cells + classes :].any():
        strangers = sorted(set(np.unique(truth).tolist()) - {*range(classes), IGNORE})
        raise ValueError(f"expected truth in 0..{classes - 1} and {IGNORE} (ignore), got {strangers}")
    return counts[:cells].reshape(classes, classes).astype(np.int64)


def iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union per class (K,) over all pixels counted; nan for a class that nobody shows."""
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    values = np.full(len(hits), np.nan)
    np.divide(hits, union, out=values, where=union > 0)
    return values


def mean_iou(counts: NDArray[np.int64], *, background: bool) -> float:
    """Mean over the classes present in truth or prediction, with or without background; nan when none is present."""
    values = iou(counts)[0 if background else 1 :]
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan


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
