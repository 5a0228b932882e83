"""The networks by name, and the wrapper that makes each of them take plain pictures."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ml.networks.unet import HalfUNet, UNet
from ml.spec import NetworkSpec, SpecError

NETWORKS: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "half_unet": HalfUNet}


def build(spec: NetworkSpec, classes: int) -> nn.Module:
    """A freshly initialised network; `classes` is K, background included. It takes normalised input."""
    if spec.name not in NETWORKS:
        raise SpecError(f"network: expected one of {', '.join(NETWORKS)}, got {spec.name!r}")
    if spec.channels not in {1, 3} or spec.width < 1:
        raise SpecError(
            f"network: expected 1 or 3 channels and a width of at least 1, "
            f"got {spec.channels} channels and width {spec.width}"
        )
    return NETWORKS[spec.name](channels=spec.channels, classes=classes, width=spec.width)


class Segmenter(nn.Module):
    """A network with its input normalisation inside, so that everybody else deals in pictures of range [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        # Not persistent: the checkpoint keeps them as plain facts beside the weights.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) float in [0, 1].  Returns (N, K, H, W) logits."""
        return cast("Tensor", self.network((images - self.mean) / self.std))
