"""How well outlines and thin lines are met (numpy only): boundary IoU and matches within a tolerance.

Both count pixels of one class on one image, so that counts can be summed over images like a confusion matrix.
Distances are chessboard distances in pixels. Pixels whose truth is 255 neither count nor make an edge.
"""

import math

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

BOUNDARY = 0.02  # width of a boundary, of the image's diagonal (Cheng et al. 2021)
TOLERANCE = 2  # pixels; cracks are drawn by hand, and a line one pixel aside is the same crack


def boundary_counts(truth: Mask, found: Mask, ignored: Mask) -> NDArray[np.int64]:
    """Pixels (2,) that the boundaries of truth and prediction share, and that either has: intersection and union.

    A boundary is the part of a mask within 2 % of the image's diagonal (at least a pixel) of its outside; beyond the
    image is outside. A mask of one pixel is all boundary, two empty masks have 0 of 0.

    Source: Boundary IoU (CVPR 2021), eq. 1; github.com/bowenc0221/boundary-iou-api, boundary_utils.py
    (mask_to_boundary). Changed: ignored pixels.
    """
    width = max(1, round(BOUNDARY * math.hypot(*truth.shape)))
    true, predicted = (_boundary(mask, ignored, width) for mask in (truth, found))
    return np.array([(true & predicted).sum(), (true | predicted).sum()])


def tolerant_counts(truth: Mask, found: Mask, ignored: Mask, tolerance: int = TOLERANCE) -> NDArray[np.int64]:
    """Pixels (4,): predicted, of these within `tolerance` of the truth, true, of these within it of the prediction."""
    truth, found = truth & ~ignored, found & ~ignored
    met = found & grown(truth, tolerance)
    seen = truth & grown(found, tolerance)
    return np.array([one.sum() for one in (found, met, truth, seen)])


def tolerant_f1(counts: NDArray[np.int64]) -> float:
    """F1 of `tolerant_counts` (4,): 0 where only one of the masks is empty, nan where both are."""
    predicted, met, true, seen = counts.tolist()
    if not predicted and not true:
        return math.nan
    precision, recall = met / max(predicted, 1), seen / max(true, 1)
    return 2 * precision * recall / (precision + recall) if met and seen else 0.0


def grown(mask: Mask, radius: int) -> Mask:
    """The pixels within `radius` of a mask (H, W)."""
    for axis in (0, 1):
        rows = np.moveaxis(mask, axis, 0)
        spread = rows.copy()
        for step in range(1, min(radius, len(rows) - 1) + 1):
            spread[step:] |= rows[:-step]
            spread[:-step] |= rows[step:]
        mask = np.moveaxis(spread, 0, axis)
    return mask


def _boundary(mask: Mask, ignored: Mask, width: int) -> Mask:
    outside = np.pad(~(mask | ignored), 1, constant_values=True)
    return mask & ~ignored & grown(outside, width)[1:-1, 1:-1]
