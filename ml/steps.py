"""What one training step does: from a batch to its loss. Methods differ here, never in the loop.

A step gets pictures in [0, 1] as they were cut from the files; augmentation is the step's business.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml.augment import strong, weak
from ml.inference import evaluating
from ml.losses import Loss, balanced_cross_entropy_and_dice
from ml.reliability import confidence


@dataclass(frozen=True)
class Batch:
    """Pictures (N, C, S, S) float in [0, 1] with masks (N, S, S) uint8; the pseudo-labelled may be none.

    pseudo_weight: of the loss on the pseudo-labelled, beside 1 for that on the labelled.  loss: of logits and masks.
    unlabelled: images that only teachers are asked about, and masks that are 255 outside the image, else 0. Behind the
    channels of a picture there may be what teachers said of it before (ml.teaching).
    """

    images: Tensor
    masks: Tensor
    pseudo_images: Tensor
    pseudo_masks: Tensor
    pseudo_weight: float
    loss: Loss = balanced_cross_entropy_and_dice
    unlabelled: tuple[Tensor, Tensor] | None = None


Step = Callable[[nn.Module, Batch, torch.Generator], Tensor]


def supervised(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """Weak augmentation of everything."""
    labelled = weak(batch.images, batch.masks, rng)
    if not len(batch.pseudo_images):
        images, masks = labelled
        return batch.loss(model(images).float(), masks.long())
    return _weighted_loss(model, labelled, weak(batch.pseudo_images, batch.pseudo_masks, rng), batch)


def label_efficient_cutmix(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """Strongly augmented pseudo-labelled images, with labelled pixels pasted where the model is unsure, then mixed.

    Source: Perturbed Progressive Learning (2023), train.py lines 212-293. Changed: grey values are jittered in [0, 1]
    before normalisation (as released they wrapped around); every image has its own two masks (one served the whole
    batch); the second paste goes on top of the first (as released it started from the unmixed image and lost most of
    the labelled pixels); the weak view turns and zooms as well (flips only); everything is batched on the device.
    Without pseudo-labels it is `supervised`.
    """
    if not len(batch.pseudo_images):
        return supervised(model, batch, rng)
    images, masks = weak(batch.images, batch.masks, rng)
    unlabelled, pseudo = weak(batch.pseudo_images, batch.pseudo_masks, rng)
    sure = _confidence(model, unlabelled)
    mixed = cut_and_mix(strong(unlabelled, rng), pseudo, images, masks, sure=sure, rng=rng)
    return _weighted_loss(model, (images, masks), mixed, batch)


STEPS: dict[str, Step] = {"supervised": supervised, "label_efficient_cutmix": label_efficient_cutmix}


def cut_and_mix(
    unlabelled: Tensor, pseudo: Tensor, images: Tensor, masks: Tensor, *, sure: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unlabelled images and their masks, first with labelled pixels in them, then with pixels of the next image.

    unlabelled, images: (N, C, S, S) and (L, C, S, S) float.  pseudo, masks: (N, S, S) and (L, S, S) uint8.
    sure: (N,) in [0, 1]; an image gets labelled pixels with probability 1 - sure.
    """
    count, size = len(unlabelled), unlabelled.shape[-1]
    partner = torch.arange(count, device=images.device) % len(images)
    unsure = torch.rand(count, generator=rng, device=rng.device) > sure
    window = paste_masks(count, size, rng) & unsure[:, None, None]
    once, once_masks = _paste(unlabelled, pseudo, images[partner], masks[partner], window)
    window = paste_masks(count, size, rng)
    return _paste(once, once_masks, once.roll(-1, 0), once_masks.roll(-1, 0), window)


def paste_masks(count: int, size: int, rng: torch.Generator) -> Tensor:
    """(count, size, size) bool: three boxes each, together a quarter to a half of the area, less where they meet.

    Source: French et al., CutMix for segmentation (2020), as in Perturbed Progressive Learning, tools/funcs.py 16-85:
    boxes by area with random aspect, inside the image; a pixel under
    two of them is off again. Changed: one mask per image, drawn in one go.
    """
    device = rng.device
    share, aspect, row, column = torch.rand(4, count, 3, generator=rng, device=device)
    share = 0.25 + 0.25 * share
    height = torch.exp(aspect * share.log())
    width = share / height
    extent = torch.stack([height, width]) * math.sqrt(1 / 3) * size
    extent = extent.round()  # (2, count, 3) pixels
    start = (torch.stack([row, column]) * (size - extent)).round()
    pixels = torch.arange(size, device=device)
    inside = (pixels >= start[..., None]) & (pixels < (start + extent)[..., None])  # (2, count, 3, size)
    boxes = inside[0][..., :, None] & inside[1][..., None, :]  # (count, 3, size, size)
    return boxes.sum(dim=1) % 2 == 1


def _paste(images: Tensor, masks: Tensor, others: Tensor, other_masks: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(window[:, None], others, images), torch.where(window, other_masks, masks)


def _confidence(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad(), evaluating(model):
        return confidence(model(images).float().softmax(dim=1))


def _weighted_loss(
    model: nn.Module, labelled: tuple[Tensor, Tensor], pseudo: tuple[Tensor, Tensor], batch: Batch
) -> Tensor:
    """Two losses out of one pass: in a common mean, wrong pseudo-labels would outweigh the labels of rare classes."""
    logits = model(torch.cat([labelled[0], pseudo[0]])).float()
    of_labelled, of_pseudo = logits.tensor_split([len(labelled[0])])
    return batch.loss(of_labelled, labelled[1].long()) + batch.pseudo_weight * batch.loss(of_pseudo, pseudo[1].long())
