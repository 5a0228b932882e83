"""Losses on logits and index masks; pixels of value 255 count nowhere."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ml.spec import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the counted pixels; zero (with a gradient of zero) when there are none.

    logits: (N, K, H, W) float, unnormalised.  target: (N, H, W) int64 in 0..K-1, 255 = ignore.
    """
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp_min(1)


def weighted_cross_entropy(logits: Tensor, target: Tensor, *, weights: Tensor) -> Tensor:
    """Cross entropy in which a pixel weighs what its class does, weighted mean over counted pixels.

    weights: (K,) float, at least 0.  Otherwise the arguments of `cross_entropy`.
    """
    total = F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE, reduction="sum")
    weight = (weights * _pixels(target, logits.shape[1])).sum()
    return total / weight.where(weight > 0, 1)


def balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy in which a class of n pixels in the batch weighs n^-1/2 a pixel, weighted mean over counted pixels.

    Between counting pixels (a defect of 1 % is drowned) and counting classes (its edge outweighs everything). By the
    batch, so that a step needs to know nothing of the data set. Same arguments as `cross_entropy`.
    """
    weights = _pixels(target, logits.shape[1]).clamp_min(1).rsqrt().to(logits.dtype)
    return weighted_cross_entropy(logits, target, weights=weights)


def focal(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float = 0.5) -> Tensor:
    """Mean over the counted pixels of alpha * (1 - p)^gamma * cross entropy, p being that of the true class.

    Same arguments as `cross_entropy`.

    Source: Lin et al., Focal loss (2017), with FastSegFormer's alpha for all classes; nets/unet_training.py@8f673e0,
    line 21. Changed: ignored pixels do not dilute the mean.
    """
    each = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")  # zero where ignored
    return _mean(alpha * (1 - (-each).exp()) ** gamma * each, target != IGNORE)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over counted pixels and classes of the binary cross entropy of every class, background among them.

    For classes that are told apart one by one: a sigmoid each, no softmax. Same arguments as `cross_entropy`.

    Source: the NEU-DET steel project, BCEWithLogitsLoss on one-hot masks. Changed: a background class, ignore mask.
    """
    each = F.binary_cross_entropy_with_logits(logits, _one_hot(target, logits), reduction="none")
    return _mean(each.mean(dim=1), target != IGNORE)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean of the soft Dice coefficients, pooled over the batch, of the classes that the target shows.

    Pooled, because one image shows few of the classes. Absent classes are left to the cross entropy: here the least
    trace of them would cost a whole coefficient, and a rare class would be unlearnt between two batches that show it.
    Zero (with a gradient of zero) when no pixel counts. Same arguments as `cross_entropy`.

    Source: Milletari et al., V-Net (2016). Changed: plain sums, pooled, present classes, ignore mask.
    """
    hits, probable, shown = _overlaps(logits, target)
    present = shown > 0
    missed = 1 - 2 * hits / (probable + shown).clamp_min(1)
    return (missed * present).sum() / present.sum().clamp_min(1)


def smoothed_dice(logits: Tensor, target: Tensor, *, smooth: float = 1.0, background: bool = False) -> Tensor:
    """1 - the mean of (2 hits + smooth) / (sizes + smooth), pooled over the batch, of all defect classes.

    With smooth = 1 MFF-Metal's (the sum over its classes is (K - 1) times this), with 1e-5 and the background among
    the classes FastSegFormer's. Same arguments as `cross_entropy`.

    Source: MFF-Metal, train.py@a6de3d8, line 98; FastSegFormer, nets/unet_training.py@8f673e0, line 41. Changed:
    ignored pixels count nowhere (FastSegFormer takes what is predicted there for false positives).
    """
    hits, probable, shown = _overlaps(logits, target)
    coefficients = (2 * hits + smooth) / (probable + shown + smooth)
    return 1 - coefficients[0 if background else 1 :].mean()


def boundary(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the counted pixels of the defect probabilities times their distance from the defect's edge.

    Distances are in diagonals of the picture, positive outside and negative inside, so that the loss is so too. Of
    use beside a loss that finds defects: alone it is content with nothing. Same arguments as `cross_entropy`.

    Source: Kervadec et al., Boundary loss (2019), as in MFF-Metal, build_boundary.py@a6de3d8, line 101. Changed:
    distances are computed here, exactly (there whole numbers, from files); they are measured in diagonals; ignore mask.
    """
    inward = _one_hot(target, logits)[:, 1:] > 0
    counted = target != IGNORE
    distances = signed_distance(inward, ~inward & counted[:, None]) / torch.tensor(target.shape[-2:]).float().norm()
    return _mean((logits.float().softmax(dim=1)[:, 1:] * distances).sum(dim=1), counted)


def asymmetric(logits: Tensor, target: Tensor, *, alpha: float = 200.0) -> Tensor:
    """Squared error of the probabilities, mean over counted pixels, that of a defect class weighing alpha^2.

    Same arguments as `cross_entropy`.

    Source: MCFF-L Net, Metrics.py@861c3e5, line 152. Changed: K classes; without its third term, the squared error of
    the sum of all probabilities, which is zero behind a softmax; ignore mask.
    """
    return squared_error(logits.softmax(dim=1), _one_hot(target, logits), target != IGNORE, alpha=alpha)


def balanced_cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Their sum: cross entropy has a gradient everywhere, Dice keeps small defects from drowning in background."""
    return balanced_cross_entropy(logits, target) + dice(logits, target)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "balanced_cross_entropy": balanced_cross_entropy,
    "focal": focal,
    "binary_cross_entropy": binary_cross_entropy,
    "dice": dice,
    "smoothed_dice": smoothed_dice,
    "boundary": boundary,
    "asymmetric": asymmetric,
    "balanced_cross_entropy_and_dice": balanced_cross_entropy_and_dice,
}


def squared_error(probabilities: Tensor, truth: Tensor, counted: Tensor, *, alpha: float) -> Tensor:
    """Sum over the classes of the mean squared error over counted pixels, that of a defect class times alpha^2.

    probabilities, truth: (N, K, H, W) in [0, 1], background first.  counted: (N, H, W) bool.
    """
    errors = (probabilities - truth) ** 2
    return _mean(errors[:, 0] + alpha**2 * errors[:, 1:].sum(dim=1), counted)


def signed_distance(inside: Tensor, outside: Tensor) -> Tensor:
    """Pixels to the nearest inside pixel where outside; minus those to the inner edge where inside; zero elsewhere.

    inside, outside: (..., H, W) bool, never both.  Returns float32.  Zero as well where one of both is empty.
    """
    away = _distance(inside) * outside - (_distance(outside) - 1) * inside
    return away.where(inside.any(dim=(-2, -1), keepdim=True) & outside.any(dim=(-2, -1), keepdim=True), 0)


def _distance(to: Tensor) -> Tensor:
    """Exact Euclidean distance (..., H, W) to the nearest True pixel, as if there were one far away otherwise.

    Down the columns by the last one met from either side, across them by trying every shift.
    """
    height, width = to.shape[-2:]
    down = torch.minimum(_rows_since(to), _rows_since(to.flip(-2)).flip(-2)).clamp(max=height + width) ** 2
    nearest = down.clone()
    for shift in range(1, width):
        nearest[..., shift:] = torch.minimum(nearest[..., shift:], down[..., :-shift] + shift**2)
        nearest[..., :-shift] = torch.minimum(nearest[..., :-shift], down[..., shift:] + shift**2)
    return nearest.sqrt()


def _rows_since(met: Tensor) -> Tensor:
    """Rows from the last True pixel above, or from one far above the map."""
    height, width = met.shape[-2:]
    row = torch.arange(height, device=met.device, dtype=torch.float32)[:, None]
    return row - row.where(met, -float(height + width)).cummax(dim=-2).values


def _overlaps(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per class, over the counted pixels of the batch: probability where it is true, probability, pixels; (K,) each."""
    probabilities = logits.softmax(dim=1) * (target != IGNORE)[:, None]
    truth = _one_hot(target, logits)
    return tuple(one.sum(dim=(0, 2, 3)) for one in (probabilities * truth, probabilities, truth))  # type: ignore[return-value]


def _one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """(N, K, H, W) of the type of `logits`, zero where ignored."""
    classes = torch.arange(logits.shape[1], device=target.device)
    return (target[..., None] == classes).movedim(-1, 1).to(logits.dtype)


def _pixels(target: Tensor, classes: int) -> Tensor:
    """Counted pixels of every class: (K,) int64."""
    return torch.stack([(target == of).sum() for of in range(classes)])


def _mean(each: Tensor, counted: Tensor) -> Tensor:
    """Mean of (N, H, W) over the counted pixels; zero (with a gradient of zero) when there are none."""
    return (each * counted).sum() / counted.sum().clamp_min(1)
