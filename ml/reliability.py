"""How far a predicted mask may be trusted: perturbed progressive learning's stability and confidence, and uncertainty.

Source: Wu et al., Perturbed Progressive Learning (TNNLS 2023), as released; changed where a docstring says so.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

_UNSURE_SHARE = 0.05  # of the pixels: a defect edge is small, the mean over a whole image would hide it
_SMOOTHING = 0.002  # of the pixels: foreground evidence below this is treated as none


def entropy(probabilities: Tensor) -> Tensor:
    """probabilities: (N, K, H, W) in [0, 1].  Returns (N, H, W) in [0, 1]: entropy / ln K."""
    nats: Tensor = torch.special.entr(probabilities).sum(dim=1)
    return (nats / math.log(probabilities.shape[1])).clamp(0, 1)  # rounding reaches 1.0000001


def confidence(probabilities: Tensor) -> Tensor:
    """(N,) in [0, 1]: mean over all pixels of (1 - entropy / ln K) * max p.  probabilities: (N, K, H, W)."""
    return ((1 - entropy(probabilities)) * probabilities.amax(dim=1)).mean(dim=(1, 2))


def stability(probabilities: Tensor) -> Tensor:
    """(N,) in [0, 1]: how far the earlier checkpoints find the same defects as the last one, their mean.

    probabilities: (T, N, K, H, W), T checkpoints, earliest first.

    Agreement of two checkpoints = sum of min(p, q) / sum of max(p, q) over all pixels and all defect classes: a soft,
    pooled foreground IoU. Changed from the paper's mean IoU of hard masks, background included: there an image on
    which all checkpoints see nothing scores a perfect 1 and fills the reliable half with clean images, while five
    stray pixels of one class halve the score. Here faint evidence on which checkpoints disagree lowers the score also
    where the hard masks are all background, and stray pixels weigh what they are.
    """
    foreground = probabilities[:, :, 1:]
    last, earlier = foreground[-1], foreground[:-1]
    shared = torch.minimum(earlier, last).sum(dim=(2, 3, 4))  # (T-1, N)
    either = torch.maximum(earlier, last).sum(dim=(2, 3, 4))
    floor = _SMOOTHING * last[0, 0].numel()
    return ((shared + floor) / (either + floor)).mean(dim=0)


def mask_stability(probabilities: Tensor) -> Tensor:
    """(N,) in [0, 1]: mean IoU of the earlier checkpoints' hard masks with the last one's, over classes either shows.

    As published by ST++ (2022) and PPL, background included.  probabilities: (T, N, K, H, W), earliest first.
    """
    classes = probabilities.shape[2]
    # argmax finds the same on a processor, eight times slower (docs/log.md).
    masks = probabilities.max(dim=2).indices
    pairs = classes * masks[:-1] + masks[-1]  # (T-1, N, H, W)
    images = torch.arange(pairs[..., 0, 0].numel(), device=pairs.device).view(*pairs.shape[:2], 1, 1)
    bins = classes**2 * images.numel()
    counts = torch.bincount((classes**2 * images + pairs).flatten(), minlength=bins)
    confusion = counts.view(*pairs.shape[:2], classes, classes)
    shared = confusion.diagonal(dim1=2, dim2=3)  # (T-1, N, K)
    either = confusion.sum(dim=2) + confusion.sum(dim=3) - shared
    return ((shared / either.clamp_min(1)).sum(dim=2) / (either > 0).sum(dim=2)).mean(dim=0)


STABILITIES: dict[str, Callable[[Tensor], Tensor]] = {"foreground": stability, "masks": mask_stability}


def uncertainty(probabilities: Tensor) -> Tensor:
    """(N,) in [0, 1]: mean of entropy / ln K over the most uncertain twentieth of the pixels."""
    return _of_the_highest(entropy(probabilities))


def class_uncertainty(probabilities: Tensor) -> Tensor:
    """(N, K-1) in [0, 1], per defect class: mean of (entropy / ln K) * p over the twentieth where it is highest.

    Source: ClaSP PE (TMLR 2026). Changed: the mean of a twentieth instead of over patches.
    """
    values = entropy(probabilities)
    return torch.stack([_of_the_highest(values * one) for one in probabilities.unbind(dim=1)[1:]], dim=1)


def margin(probabilities: Tensor) -> Tensor:
    """(N,) in [0, 1]: how far the likelier of two classes is ahead, mean of the twentieth where it is least."""
    first, second = probabilities.topk(2, dim=1).values.unbind(dim=1)
    return 1 - _of_the_highest(1 - (first - second))


def disagreement(mask: Tensor, other: Tensor) -> Tensor:
    """(N,) in [0, 1]: of the pixels where either mask shows a defect, how many differ.  Both (N, H, W), indices."""
    differ = (mask != other).flatten(1).sum(dim=1)
    either = ((mask > 0) | (other > 0)).flatten(1).sum(dim=1)
    return differ / (either + _SMOOTHING * mask[0].numel())


def _of_the_highest(values: Tensor) -> Tensor:
    """(N,): mean of the highest twentieth of values (N, H, W)."""
    flat = values.flatten(1)
    return flat.topk(max(1, round(_UNSURE_SHARE * flat.shape[1])), dim=1).values.mean(dim=1)
