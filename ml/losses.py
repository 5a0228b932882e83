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


def balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy in which a class of n pixels in the batch weighs n^-1/2 a pixel, weighted mean over counted pixels.

    Between counting pixels (a defect of 1 % is drowned) and counting classes (its edge outweighs everything). By the
    batch, so that a step needs to know nothing of the data set. Same arguments as `cross_entropy`.
    """
    counted = target != IGNORE
    pixels = F.one_hot(target.where(counted, 0), logits.shape[1])[counted].sum(dim=0)  # (K,)
    weights = pixels.clamp_min(1).rsqrt().to(logits.dtype)
    total = F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE, reduction="sum")
    return total / (weights * pixels).sum().clamp_min(1)


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


def balanced_cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Their sum: cross entropy has a gradient everywhere, Dice keeps small defects from drowning in background."""
    return balanced_cross_entropy(logits, target) + dice(logits, target)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "balanced_cross_entropy": balanced_cross_entropy,
    "dice": dice,
    "balanced_cross_entropy_and_dice": balanced_cross_entropy_and_dice,
}
