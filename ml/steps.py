"""What one training step does: from a batch to its loss. Methods differ here, never in the loop.

A step gets pictures in [0, 1] as they were cut from the files; augmentation is the step's business.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml.augment import Weak, cut_out, strong, weak
from ml.consistency import Guide
from ml.inference import evaluating
from ml.losses import Loss, balanced_cross_entropy_and_dice
from ml.reliability import confidence
from ml.spec import IGNORE, WEAK_TO_STRONG

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Batch:
    """Pictures (N, C, S, S) float in [0, 1] with masks (N, S, S) uint8; the pseudo-labelled may be none.

    pseudo_weight: of the loss on the pseudo-labelled, beside 1 for that on the labelled.  loss: of logits and masks.
    unlabelled: images that only teachers are asked about, and masks that are 255 outside the image, else 0. Behind the
    channels of a picture there may be what teachers said of it before (ml.teaching).
    weak: moves the pixels of all of them.  guide: whoever answers for unlabelled images where no other teacher does.
    """

    images: Tensor
    masks: Tensor
    pseudo_images: Tensor
    pseudo_masks: Tensor
    pseudo_weight: float
    loss: Loss = balanced_cross_entropy_and_dice
    unlabelled: tuple[Tensor, Tensor] | None = None
    weak: Weak = weak
    guide: Guide | None = None


Step = Callable[[nn.Module, Batch, torch.Generator], Tensor]
Part = tuple[Tensor, Tensor, float | Tensor]  # pictures, masks, what their loss weighs


def supervised(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """Weak augmentation of everything."""
    return _loss(model, _weak_parts(batch, rng), batch)


def strong_pseudo_labels(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """Weak augmentation of the labelled, strong augmentation and cut-outs of the pseudo-labelled.

    Source: Yang et al., ST++ (2022), dataset/semi.py. Changed: no hue and no grey (`strong`); labelled and
    pseudo-labelled images are as many in every batch, where repeating the labelled made them so in every epoch.
    """
    labelled, *pseudo = _weak_parts(batch, rng)
    strengthened = [(*cut_out(strong(images, rng), masks, rng), weight) for images, masks, weight in pseudo]
    return _loss(model, [labelled, *strengthened], batch)


def label_efficient_cutmix(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """Pseudo-labelled images with labelled pixels pasted where the model is unsure, then mixed with one another.

    Source: Perturbed Progressive Learning (2023), train.py lines 212-293. Changed: grey values stay as they are
    (jittered ones, which as released wrapped around, cost a point and gave none: docs/log.md, 2026-11-21); every image
    has its own two masks (one served the whole batch); the second paste goes on top of the first (as released it
    started from the unmixed image and lost most of the labelled pixels); the weak view turns and zooms as well (flips
    only); everything is batched on the device. Without pseudo-labels it is `supervised`.
    """
    if not len(batch.pseudo_images):
        return supervised(model, batch, rng)
    images, masks = batch.weak(batch.images, batch.masks, rng)
    unlabelled, pseudo = batch.weak(batch.pseudo_images, batch.pseudo_masks, rng)
    sure = _confidence(model, unlabelled)
    mixed = cut_and_mix(unlabelled, pseudo, images, masks, sure=sure, rng=rng)
    return _loss(model, [(images, masks, 1.0), (*mixed, batch.pseudo_weight)], batch)


def label_efficient_cutmix_as_released(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """`label_efficient_cutmix` with the faults of the published code, to be compared with; `pseudo_weight` is not read.

    Grey values that were normalised are taken for bytes and wrap around; one mask serves the whole batch; the second
    paste starts from the unmixed images; labelled and pseudo-labelled pixels have one mean.
    """
    if not len(batch.pseudo_images):
        return supervised(model, batch, rng)
    images, masks = batch.weak(batch.images, batch.masks, rng)
    unlabelled, pseudo = batch.weak(batch.pseudo_images, batch.pseudo_masks, rng)
    unsure = torch.rand(len(unlabelled), generator=rng, device=rng.device) > _confidence(model, unlabelled)
    unlabelled = strong(as_wrapped_bytes(unlabelled), rng)
    first, second = paste_masks(2, unlabelled.shape[-1], rng)
    partner = _partners(unlabelled, images)
    once, once_masks = _paste(unlabelled, pseudo, images[partner], masks[partner], first & unsure[:, None, None])
    second = second.expand(len(unlabelled), -1, -1)
    mixed = _paste(unlabelled, pseudo, once.roll(-1, 0), once_masks.roll(-1, 0), second)
    return _loss(model, [(torch.cat([images, mixed[0]]), torch.cat([masks, mixed[1]]), 1.0)], batch)


def weak_to_strong(model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
    """Strong views of unlabelled images come to show what the teacher sees in the weak view, where it is sure.

    Labelled pixels are pasted where the teacher is unsure, then pixels of the next image, as `label_efficient_cutmix`
    does. The loss on the views is that of the pixels that count, times their share of all pixels; for cross entropy
    that is their sum over all. Without unlabelled images it is `supervised`.

    Source: Sohn et al., FixMatch (2020), with two views as in Yang et al., UniMatch (2023), and label injection as in
    Zhao et al., AugSeg (2023). Changed: no dropout of features, which only some networks could be given.
    """
    if batch.guide is None or batch.unlabelled is None or not len(batch.unlabelled[0]):
        return supervised(model, batch, rng)
    parts = _weak_parts(batch, rng)
    images, masks, _ = parts[0]
    unlabelled, outside = batch.weak(*batch.unlabelled, rng)
    told, sure = batch.guide.answer(unlabelled, outside)
    views = [
        cut_and_mix(strong(unlabelled, rng), told, images, masks, sure=sure, rng=rng) for _ in range(batch.guide.views)
    ]
    pictures, targets = (torch.cat(one) for one in zip(*views, strict=True))
    counted = (targets != IGNORE).float().mean()
    return _loss(model, [*parts, (pictures, targets, batch.guide.weight() * counted)], batch)


STEPS: dict[str, Step] = {
    "supervised": supervised,
    "strong_pseudo_labels": strong_pseudo_labels,
    "label_efficient_cutmix": label_efficient_cutmix,
    "label_efficient_cutmix_as_released": label_efficient_cutmix_as_released,
    WEAK_TO_STRONG: weak_to_strong,
}


def cut_and_mix(
    unlabelled: Tensor, pseudo: Tensor, images: Tensor, masks: Tensor, *, sure: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unlabelled images and their masks, first with labelled pixels in them, then with pixels of the next image.

    unlabelled, images: (N, C, S, S) and (L, C, S, S) float.  pseudo, masks: (N, S, S) and (L, S, S) uint8.
    sure: (N,) in [0, 1]; an image gets labelled pixels with probability 1 - sure.
    """
    count, size = len(unlabelled), unlabelled.shape[-1]
    partner = _partners(unlabelled, images)
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


def as_wrapped_bytes(images: Tensor) -> Tensor:
    """What became of pictures (N, C, H, W) in [0, 1] that were normalised and then made bytes: they wrap modulo 256.

    Source: Perturbed Progressive Learning, train.py 237-251, with ImageNet's figures. Grey pictures take their mean.
    """
    mean, std = (images.new_tensor(one).view(1, 3, 1, 1) for one in (_IMAGENET_MEAN, _IMAGENET_STD))
    if images.shape[1] == 1:
        mean, std = mean.mean(dim=1, keepdim=True), std.mean(dim=1, keepdim=True)
    return ((images - mean) / std * 255).long().remainder(256) / 255


def _partners(unlabelled: Tensor, images: Tensor) -> Tensor:
    """Which labelled image each unlabelled one takes pixels of."""
    return torch.arange(len(unlabelled), device=images.device) % len(images)


def _paste(images: Tensor, masks: Tensor, others: Tensor, other_masks: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(window[:, None], others, images), torch.where(window, other_masks, masks)


def _confidence(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad(), evaluating(model):
        return confidence(model(images).float().softmax(dim=1))


def _weak_parts(batch: Batch, rng: torch.Generator) -> list[Part]:
    """The labelled images and, if there are any, the pseudo-labelled, as the weak augmentation leaves them."""
    parts: list[Part] = [(*batch.weak(batch.images, batch.masks, rng), 1.0)]
    if len(batch.pseudo_images):
        parts.append((*batch.weak(batch.pseudo_images, batch.pseudo_masks, rng), batch.pseudo_weight))
    return parts


def _loss(model: nn.Module, parts: Sequence[Part], batch: Batch) -> Tensor:
    """The weighted sum of the losses on the parts, out of one pass.

    Apart, because in a common mean wrong pseudo-labels would outweigh the labels of rare classes.
    """
    logits = model(torch.cat([images for images, _, _ in parts])).float().split([len(images) for images, _, _ in parts])
    losses = [w * batch.loss(one, masks.long()) for one, (_, masks, w) in zip(logits, parts, strict=True)]
    return torch.stack(losses).sum()
