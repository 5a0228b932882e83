"""Batched augmentation of pictures in [0, 1], before normalisation: `weak` moves pixels, `strong` changes grey values.

Own code because it is the fastest on a processor (one pass over the batch) and runs unchanged on a GPU.
Every image of a batch draws its own parameters.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ml.spec import IGNORE

Weak = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def weak(images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each image flipped and turned into one of its eight symmetric poses; half of them also zoomed by 0.75 to 1.33.

    images: (N, C, S, S) float in [0, 1].  masks: (N, S, S) uint8; what a zoom brings in from outside becomes 255.
    """
    require_unit_range(images)
    images, masks = images.clone(), masks.clone()
    poses = torch.randint(8, (len(images),), generator=rng, device=images.device).tolist()
    for index, pose in enumerate(poses):
        images[index] = _posed(images[index], pose)
        masks[index] = _posed(masks[index], pose)
    chosen = (torch.rand(len(images), generator=rng, device=images.device) < 0.5).nonzero().flatten()
    if len(chosen):
        images[chosen], masks[chosen] = _zoomed(images[chosen], masks[chosen], rng)
    return images, masks


def mirrored(images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the images left to right, as the published code of PPL and ST++ has it. Same arguments as `weak`."""
    require_unit_range(images)
    chosen = torch.rand(len(images), generator=rng, device=images.device) < 0.5
    flipped = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    return flipped, torch.where(chosen[:, None, None], masks.flip(-1), masks)


WEAK: dict[str, Weak] = {"poses_and_zoom": weak, "mirror": mirrored}


def strong(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, contrast and gamma with probability 0.8, blur with 0.5, noise with 0.5; no hue, surfaces are grey.

    images: (N, C, H, W) float in [0, 1]; so is what comes back.
    """
    require_unit_range(images)
    images = _mixed(images, _jittered(images, rng), 0.8, rng)
    images = _mixed(images, _blurred(images, rng), 0.5, rng)
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    return _mixed(images, images + noise * _uniform(images, 0.0, 0.05, rng), 0.5, rng).clamp(0, 1)


def cut_out(images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the images with a box of noise in them, whose pixels are ignored.

    images: (N, C, S, S) float in [0, 1].  masks: (N, S, S) uint8.

    Source: ST++ (2022), dataset/transform.py: 2 to 40 % of the area, aspect 0.3 to 3.3. Changed: a box that would not
    fit is cut off at the edge (drawn again there).
    """
    size = images.shape[-1]
    area, aspect, row, column = torch.rand(4, len(images), 1, generator=rng, device=images.device)
    side = (0.02 + 0.38 * area).sqrt()
    stretch = torch.exp(math.log(0.3) + math.log(3.3 / 0.3) * aspect).sqrt()
    extent = torch.stack([side * stretch, side / stretch]).clamp_max(1) * size  # (2, N, 1)
    start = torch.stack([row, column]) * (size - extent)
    pixels = torch.arange(size, device=images.device)
    down, across = (pixels >= start) & (pixels < start + extent)  # (N, S) each
    chosen = torch.rand(len(images), 1, 1, generator=rng, device=images.device) < 0.5
    box = down[:, :, None] & across[:, None, :] & chosen  # (N, S, S)
    noise = torch.rand(images.shape, generator=rng, device=images.device)
    return torch.where(box[:, None], noise, images), masks.masked_fill(box, IGNORE)


def require_unit_range(images: Tensor) -> None:
    """Raises ValueError unless all values lie in [0, 1]: normalised pictures would turn to nonsense here."""
    low, high = (float(bound) for bound in torch.aminmax(images))
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"augmentation: expected pictures in [0, 1], got {low:.3g} to {high:.3g}; normalise after augmenting"
        )


def _posed(image: Tensor, pose: int) -> Tensor:
    turned = torch.rot90(image, pose % 4, dims=(-2, -1))
    return turned.flip(-1) if pose >= 4 else turned


def _zoomed(images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    scale = torch.exp(_uniform(images, -1.0, 1.0, rng).flatten() * math.log(4 / 3))
    room = (1 - scale).clamp_min(0)  # where a window smaller than the image may lie
    shift = (torch.rand(len(images), 2, generator=rng, device=images.device) * 2 - 1) * room[:, None]
    # Without a turn the axes stand apart: a third of what affine_grid takes.
    size = images.shape[-1]
    centres = (torch.arange(size, device=images.device) * 2 + 1) / size - 1
    across, down = (scale[:, None] * centres + shift[:, axis, None] for axis in (0, 1))  # (N, S) each
    whole = (len(images), size, size)
    grid = torch.stack([across[:, None, :].expand(whole), down[:, :, None].expand(whole)], dim=-1)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    # Shifted by the ignore value, so that the zeros outside the image become ignored pixels.
    labels = masks[:, None].float() - IGNORE
    labels = F.grid_sample(labels, grid, mode="nearest", padding_mode="zeros", align_corners=False) + IGNORE
    return moved.clamp(0, 1), labels[:, 0].to(masks.dtype)


def _jittered(images: Tensor, rng: torch.Generator) -> Tensor:
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    contrast = _uniform(images, 0.5, 1.5, rng)
    brightness = _uniform(images, -0.25, 0.25, rng)
    gamma = torch.exp(_uniform(images, -0.4, 0.4, rng))
    return ((images - mean) * contrast + mean + brightness).clamp(1e-4, 1).pow(gamma)


def _blurred(images: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian blur of 0.1 to 2 pixels, each image its own, as one grouped separable convolution."""
    count, channels = images.shape[:2]
    sigma = _uniform(images, 0.1, 2.0, rng).view(-1, 1)
    offsets = torch.arange(-4, 5, device=images.device)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma**2), dim=1).repeat_interleave(channels, dim=0)  # (N*C, 9)
    flat = F.pad(images.reshape(1, count * channels, *images.shape[2:]), (4, 4, 4, 4), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    return flat.view_as(images)


def _mixed(before: Tensor, after: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    chosen = torch.rand(len(before), 1, 1, 1, generator=rng, device=before.device) < probability
    return torch.where(chosen, after, before)


def _uniform(images: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    """(N, 1, 1, 1) float, one value an image."""
    return torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device) * (high - low) + low
