"""Losses on logits and index masks; pixels of value 255 count nowhere."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from ml.spec import IGNORE


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the counted pixels; zero (with a gradient of zero) when there are none.

    logits: (N, K, H, W) float, unnormalised.  target: (N, H, W) int64 in 0..K-1, 255 = ignore.
    """
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp_min(1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean of the soft Dice coefficients, pooled over the batch, of the classes that the target shows.

    Pooled, because one image shows few of the classes. Absent classes are left to the cross entropy: here the least
    trace of them would cost a whole coefficient, and a rare class would be unlearnt between two batches that show it.
    Zero (with a gradient of zero) when no pixel counts. Same arguments as `cross_entropy`.

    Source: Milletari et al., V-Net (2016). Changed: plain sums, pooled, present classes, ignore mask.
    """
    counted = (target != IGNORE)[:, None]
    probabilities = logits.softmax(dim=1) * counted
    truth = F.one_hot(target.where(counted[:, 0], 0), logits.shape[1]).movedim(-1, 1) * counted
    hits = (probabilities * truth).sum(dim=(0, 2, 3))
    shown = truth.sum(dim=(0, 2, 3))
    sizes = probabilities.sum(dim=(0, 2, 3)) + shown
    present = shown > 0
    missed = 1 - 2 * hits / sizes.clamp_min(1)
    return (missed * present).sum() / present.sum().clamp_min(1)


def cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Their sum: cross entropy is smooth and calibrated, Dice keeps small classes from drowning in background."""
    return cross_entropy(logits, target) + dice(logits, target)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "cross_entropy_and_dice": cross_entropy_and_dice,
}
