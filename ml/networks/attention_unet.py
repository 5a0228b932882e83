"""Attention U-Net: a U-Net whose skip connections are gated by what is already decoded; a row of MFF-Metal's table.

Source: Oktay et al., Attention U-Net (2018), as in github.com/neulmc/MFF-Metal@a6de3d8, attu_net.py. Changed: any size
(the published one fits 200 pixels only), logits instead of probabilities.
"""

import torch
from torch import Tensor, nn

from ml.networks.contract import padded


class AttentionUNet(nn.Module):
    """Logits of K classes; `width` channels at full size, doubled at each of four poolings."""

    def __init__(self, *, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(map(double_convolution, [channels, *widths[:-1]], widths))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(up_convolution(2 * wide, wide) for wide in reversed(widths[:-1]))
        self.gate = nn.ModuleList(AttentionGate(wide, wide // 2) for wide in reversed(widths[:-1]))
        self.merge = nn.ModuleList(double_convolution(2 * wide, wide) for wide in reversed(widths[:-1]))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        height, width = x.shape[-2:]
        x = padded(x, 16)
        skips = []
        for level, convolve in enumerate(self.down):
            x = convolve(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()  # the deepest level goes up, not across
        for up, gate, merge in zip(self.up, self.gate, self.merge, strict=True):
            x = up(x)
            x = merge(torch.cat([gate(skips.pop(), x), x], dim=1))
        logits: Tensor = self.classify(x)
        return logits[..., :height, :width]


class AttentionGate(nn.Module):
    """A skip map weighed in (0, 1) per pixel by itself and a decoded map of the same size and channels."""

    def __init__(self, channels: int, between: int) -> None:
        super().__init__()
        self.of_decoded = nn.Sequential(nn.Conv2d(channels, between, 1), nn.BatchNorm2d(between))
        self.of_skip = nn.Sequential(nn.Conv2d(channels, between, 1), nn.BatchNorm2d(between))
        self.weigh = nn.Sequential(nn.ReLU(), nn.Conv2d(between, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        gated: Tensor = skip * self.weigh(self.of_decoded(decoded) + self.of_skip(skip))
        return gated


def convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution (with a bias, as published), batch normalisation, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions; the size stays."""
    return nn.Sequential(*convolution(inputs, outputs), *convolution(outputs, outputs))


def up_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size by repeating pixels, and a convolution."""
    return nn.Sequential(nn.Upsample(scale_factor=2), *convolution(inputs, outputs))
