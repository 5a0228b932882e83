"""What a network makes of a whole picture, as a short vector: pictures that it sees alike lie close together."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.device import Compute

SIDE = 256  # pixels a picture is shrunk to at most, and to half at least: what lies deepest needs no fine edges
LENGTH = 64  # of a vector


def embedding(model: nn.Module, images: Tensor, compute: Compute) -> Tensor:
    """(N, 64) float32 of unit length: channel means of the network's smallest map, wherever it is.

    images: (N, C, H, W) uint8. A map of more channels is projected
    at random, always the same way; one of fewer is filled up with zeros.
    """
    pictures = images.to(compute.device).float().div(255)
    scale = min(0.5, SIDE / max(pictures.shape[-2:]))
    shrunk = F.interpolate(pictures, scale_factor=scale, mode="area")
    deepest = _Deepest()
    hooks = [part.register_forward_hook(deepest) for part in model.modules() if not list(part.children())]
    try:
        with torch.inference_mode(), compute.autocast():
            model(shrunk.contiguous(memory_format=torch.channels_last))
    finally:
        for hook in hooks:
            hook.remove()
    if deepest.means is None:
        raise ValueError(f"expected a network with maps (N, C, H, W), {type(model).__name__} has none")
    return F.normalize(_at_length(deepest.means.float()), dim=1)


class _Deepest:
    """The means of the smallest map seen so far, the last of several. A map of one pixel is squeezed, not deep."""

    def __init__(self) -> None:
        self.means: Tensor | None = None
        self._pixels = 0

    def __call__(self, part: nn.Module, given: Any, map_: Any) -> None:
        if not isinstance(map_, Tensor) or map_.ndim != 4 or map_.shape[2] * map_.shape[3] < 2:
            return
        pixels = map_.shape[2] * map_.shape[3]
        if self.means is None or pixels <= self._pixels:
            self.means, self._pixels = map_.mean(dim=(2, 3)), pixels


def _at_length(means: Tensor) -> Tensor:
    channels = means.shape[1]
    if channels <= LENGTH:
        return F.pad(means, (0, LENGTH - channels))
    directions = torch.randn(channels, LENGTH, generator=torch.Generator().manual_seed(channels))
    return means @ directions.to(means.device)
