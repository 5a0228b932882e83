"""The same predictions under the protocols of the five seed systems, no two of whose figures can be compared.

Each protocol is the published computation on hard masks. Where it averages over batches, a batch is one image here, for
the batch size is no property of a prediction. Source lines are those of the published repositories.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml import metrics

Figures = dict[str, float]  # name -> share in [0, 1], nan where there is nothing to measure


@dataclass(frozen=True)
class Tally:
    """What a set of N predicted images comes to; everything adds up over images.

    confusion: (N, K, K).  boundaries: (N, K, 2), tolerant: (N, K, 4), as ml.contours counts them per class; row 0 of
    both is all defect classes taken as one. All int64.
    """

    confusion: NDArray[np.int64]
    boundaries: NDArray[np.int64]
    tolerant: NDArray[np.int64]


def burnish(tally: Tally) -> Figures:
    """Whole-set mIoU with and without background, mPA."""
    counts = tally.confusion.sum(axis=0)
    return {
        "mIoU": metrics.mean_iou(counts, background=True),
        "mIoU defects": metrics.mean_iou(counts, background=False),
        "mPA": metrics.mean_accuracy(counts),
    }


def ppl(tally: Tally) -> Figures:
    """Whole-set mIoU, background included; a class that nobody shows is left out."""
    return {"mIoU": metrics.mean_iou(tally.confusion.sum(axis=0), background=True)}


def mff_metal(tally: Tally) -> Figures:
    """Whole-set mIoU of the defect classes; a class that nobody shows makes it nan (0 / 0)."""
    return {"mIoU defects": float(metrics.iou(tally.confusion.sum(axis=0))[1:].mean())}


def fastsegformer(tally: Tally) -> Figures:
    """Whole-set mIoU and mPA, background included; a class that is absent counts as 0 in both."""
    counts = tally.confusion.sum(axis=0)
    return {
        "mIoU": float(np.nan_to_num(metrics.iou(counts)).mean()),
        "mPA": float(np.nan_to_num(metrics.recall(counts)).mean()),
    }


def mcff_l(tally: Tally) -> Figures:
    """Mean over images; a prediction is right within 2 pixels of a defect, a defect is found only where it lies itself.

    All defect classes are one (crack). An image without a defect scores 0, whatever is predicted on it. Left out: that
    a whole batch was compared with its last label, and that labels were grown downwards beforehand.
    """
    predicted, met, true, _ = tally.tolerant[:, 0].T
    hits = tally.confusion[:, 1:, 1:].sum(axis=(1, 2))
    precision, recall = met / np.maximum(predicted, 1), hits / np.maximum(true, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-8)
    return {"F1": float(f1.mean()), "IoU": float((met / np.maximum(predicted + true - hits, 1)).mean())}


def neu_det(tally: Tally) -> Figures:
    """Mean over images of Dice and IoU over the pixels of all defect classes together (micro).

    An image without a defect counts 1 in Dice when nothing is predicted on it, otherwise 0, and nowhere in IoU.
    """
    hits = np.diagonal(tally.confusion, axis1=1, axis2=2)[:, 1:].sum(axis=1)
    true, predicted = tally.confusion[:, 1:].sum(axis=(1, 2)), tally.confusion[:, :, 1:].sum(axis=(1, 2))
    dice = np.where(true + predicted > 0, 2 * hits / np.maximum(true + predicted, 1), 1.0)
    union = (true + predicted - hits)[true > 0]
    return {"Dice": float(dice.mean()), "IoU": metrics.mean_present(hits[true > 0] / union)}


@dataclass(frozen=True)
class Protocol:
    """Where it was published, and the figures it makes of a tally."""

    source: str
    figures: Callable[[Tally], Figures]


PROTOCOLS = {
    "burnish": Protocol("docs/figures.md", burnish),
    "ppl": Protocol("PPL, tools/utils.py:33-54, train.py:311-333", ppl),
    "mff-metal": Protocol("MFF-Metal, metric.py:4-16, train.py:298-337", mff_metal),
    "fastsegformer": Protocol("FastSegFormer, utils/utils_metrics.py:31-44", fastsegformer),
    "mcff-l": Protocol("MCFF-L Net, Metrics.py:28-86", mcff_l),
    "neu-det": Protocol("NEU-DET project, Meter.py:85-109", neu_det),
}
