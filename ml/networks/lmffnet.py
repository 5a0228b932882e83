"""LMFFNet: what MFF-Metal grew out of; a comparison row of its table.

Source: Shi et al., LMFFNet (2022); github.com/Greak-1124/LMFFNet@f4ec491, model/LMFFNet.py. Changed: any size, a chosen
width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.contract import padded
from ml.networks.mff_metal import Bottleneck, Down, GatedHead, PartitionAttention, convolution, halved, norm

DILATIONS = ((2, 2, 2), (4, 4, 8, 8, 16, 16, 32, 32))  # of the wider branch, per stage and block


class LMFFNet(nn.Module):
    """Logits of K classes from maps at 1/4 and 1/8; `width` channels at half size, 32 as published."""

    def __init__(self, *, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        quarter, eighth = 4 * width + channels, 8 * width + channels
        self.stem = nn.Sequential(
            convolution(channels, width, 3, stride=2),
            convolution(width, width, 3),
            convolution(width, width, 3),
        )
        self.merge = nn.Sequential(norm(width + channels), nn.Conv2d(width + channels, width + channels, 1, bias=False))
        self.quarter = _Stage(width + channels, 2 * width, DILATIONS[0], picture=channels)
        self.eighth = _Stage(quarter, 4 * width, DILATIONS[1], picture=channels)
        self.head = GatedHead(quarter, eighth, classes, deep=32)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        height, width = x.shape[-2:]
        x = padded(x, 8)
        picture = halved(x)
        half = self.merge(torch.cat([self.stem(x), picture], dim=1))
        quarter = self.quarter(half, picture := halved(picture))
        eighth = self.eighth(quarter, halved(picture))
        logits = self.head.gated(self.head.both(quarter, eighth), eighth)
        return F.interpolate(logits, scale_factor=4, mode="bilinear")[..., :height, :width]


class _Stage(nn.Module):
    """Half the size: blocks, their weighed input and the picture, merged."""

    def __init__(self, inputs: int, wide: int, dilations: tuple[int, ...], *, picture: int) -> None:
        super().__init__()
        self.down = Down(inputs, wide, kernel=3)
        self.blocks = nn.Sequential(*(Bottleneck(wide, (1, one)) for one in dilations))
        self.attend = PartitionAttention(wide)
        together = 2 * wide + picture
        self.merge = nn.Sequential(norm(together), nn.Conv2d(together, together, 1, bias=False))

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        entry = self.down(x)
        merged: Tensor = self.merge(torch.cat([self.blocks(entry), self.attend(entry), picture], dim=1))
        return merged
