"""How well outlines and thin lines are met (numpy only): boundary IoU and matches within a tolerance.

Both count pixels per class on one image, so that counts can be summed over images like a confusion matrix. Distances
are chessboard distances in pixels. Pixels whose truth is 255 neither count nor make an edge.

Windows slide over all classes at once, and every pixel is counted once, by its classes and what else is known of it:
what an image costs hardly depends on how many classes there are, nor on how wide the windows.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml import metrics
from ml.spec import IGNORE

Mask = NDArray[np.uint8]
Flags = NDArray[np.bool_]

BOUNDARY = 0.02  # width of a boundary, of the image's diagonal (Cheng et al. 2021)
TOLERANCE = 2  # pixels; cracks are drawn by hand, and a line one pixel aside is the same crack
BITS = 8  # classes that one pixel of a window can hold at a time
TRUE_EDGE, EDGE, SEEN, MET = (np.uint8(1 << bit) for bit in range(4))  # what is known of a pixel beside its classes
# Bytes, asked for and freed untouched: glibc then keeps twice as many for what follows. Otherwise it gives the memory
# of every mask back to the system and gets it anew, page by page, which costs twice what all the counting does.
KEEP = 1 << 24
KINDS = np.arange(16, dtype=np.uint8)  # of pixels, by these bits


class Counts(NamedTuple):
    """Pixels of an image by class, int64; row 0 of the latter two is all defect classes taken as one.

    confusion: (K, K), as ml.metrics.confusion counts.
    boundaries: (K, 2), shared by the boundaries of truth and prediction, and in either.
    tolerant: (K, 4), predicted, of these within the tolerance of the truth, true, of these within it of the prediction.
    """

    confusion: NDArray[np.int64]
    boundaries: NDArray[np.int64]
    tolerant: NDArray[np.int64]


def counts(truth: Mask, found: Mask, classes: int, *, tolerance: int = TOLERANCE) -> Counts:
    """What there is to count on an image.

    A boundary is the part of a class within 2 % of the image's diagonal (at least a pixel) of its outside; beyond the
    image is outside. A mask of one pixel is all boundary, two empty masks have 0 of 0.

    truth, found: index masks (H, W).  classes: K, background included.

    Raises:
        ValueError: the shapes differ, or a value is neither a class nor, in the truth, 255.
    Source: Boundary IoU (CVPR 2021), eq. 1; github.com/bowenc0221/boundary-iou-api, boundary_utils.py
    (mask_to_boundary). Changed: ignored pixels.
    """
    metrics.check_shapes(truth, found)
    np.empty(KEEP, np.uint8)
    ignored = truth == IGNORE
    true, predicted = truth * ~ignored, found * ~ignored
    edges, edges_of_all = _edges(true, predicted, ignored)
    near, near_of_all = _near(true, predicted, classes, tolerance)
    found_as = metrics.confusion_by_kind(truth, found, edges | near, classes=classes, kinds=len(KINDS))  # (K, K, 16)
    confusion = found_as.sum(axis=2)
    on_true, on_found, of_seen, of_met = (found_as @ (KINDS & bit > 0) for bit in (TRUE_EDGE, EDGE, SEEN, MET))
    shared = np.diagonal(found_as @ ((KINDS & TRUE_EDGE > 0) & (KINDS & EDGE > 0)))
    boundaries = np.stack([shared, on_true.sum(axis=1) + on_found.sum(axis=0) - shared], axis=1)
    sums = confusion.sum(axis=0), of_met.sum(axis=0), confusion.sum(axis=1), of_seen.sum(axis=1)
    tolerant = np.stack(sums, axis=1)
    boundaries[0], tolerant[0] = edges_of_all, near_of_all
    return Counts(confusion, boundaries, tolerant)


def tolerant_f1(counts: NDArray[np.int64]) -> float:
    """F1 of the tolerant counts of a class (4,): 0 where only one of the masks is empty, nan where both are."""
    predicted, met, true, seen = counts.tolist()
    if not predicted and not true:
        return math.nan
    precision, recall = met / max(predicted, 1), seen / max(true, 1)
    return 2 * precision * recall / (precision + recall) if met and seen else 0.0


def _edges(true: Mask, predicted: Mask, ignored: Flags) -> tuple[Mask, list[int]]:
    """The bits of boundaries (H, W), and for all defects as one the pixels of both and of either."""
    width = max(1, round(BOUNDARY * math.hypot(*true.shape)))
    (true_edge, true_rim), (edge, rim) = (_boundary(mask, ignored, width) for mask in (true, predicted))
    of_all = [np.count_nonzero(true_rim & rim), np.count_nonzero(true_rim | rim)]
    return true_edge * TRUE_EDGE | edge * EDGE, of_all


def _boundary(mask: Mask, ignored: Flags, width: int) -> tuple[Flags, Flags]:
    """(H, W): where the classes of a mask have their boundaries, and where all defects as one have theirs."""
    # What is ignored is never the lowest nor the highest of a window: it makes no edge.
    lowest = _around(np.minimum, mask | ignored * np.uint8(IGNORE), width)
    highest = _around(np.maximum, mask, width)
    return lowest != highest, (lowest == 0) & (mask > 0)


def _near(true: Mask, predicted: Mask, classes: int, reach: int) -> tuple[Mask, list[int]]:
    """The bits of what is met and seen (H, W), and for all defects as one the pixels predicted, met, true, seen."""
    kind, of_all = np.zeros_like(true), []
    for mask, other, bit in ((predicted, true, MET), (true, predicted, SEEN)):
        some = np.zeros(mask.shape, bool)
        for first in range(1, classes, BITS):
            around = _around(np.bitwise_or, _bits(other, first), reach)
            kind |= ((_bits(mask, first) & around) > 0) * bit
            some |= around > 0
        defects = mask > 0
        of_all += [np.count_nonzero(defects), np.count_nonzero(defects & some)]
    return kind, of_all


def _bits(mask: Mask, first: int) -> Mask:
    """A bit for each of the eight classes from the first on, 0 for all others."""
    # They are shifted out, background too: below 0 a byte goes on at 255.
    bits: Mask = np.left_shift(np.uint8(1), mask - np.uint8(min(first, IGNORE - BITS)))
    return bits


def _around(combine: np.ufunc, mask: Mask, reach: int) -> Mask:
    """(H, W): what all pixels within reach combine to; beyond the image is 0."""
    height, width = mask.shape
    padded = np.pad(mask, ((reach, reach + 2), (reach, 0)))  # right of a row lies the padding of the next
    stride, length = padded.shape[1], 2 * reach + 1
    flat = padded.ravel()  # in one piece: shifted by a stride it is a row further, by 1 a column
    spare = np.empty_like(flat)  # two that take turns: fresh memory would cost more than the work
    for shift in (stride, 1):
        held = 1
        while held < length:  # runs of up to twice as many each time
            step = min(held, length - held)
            left = flat.size - step * shift
            flat, spare = combine(flat[:left], flat[-left:], out=spare[:left]), flat
            held += step
    return flat[: height * stride].reshape(height, stride)[:, :width]
