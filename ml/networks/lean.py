"""Our own student: few multiplications at full size, most of its width where the map is small.

Residual blocks of a depthwise and two pointwise convolutions at 1/4, 1/8 and 1/16, where they look around at several
dilations; then back up to half size, where scratches of two pixels still show. Batch normalisation and ReLU only, so
that every export can fold and quantise them.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.contract import Outputs, covering, padded

BLOCKS = ((1, 1), (1, 1, 1), (1, 2, 4, 2, 1))  # dilations, per stage at 1/4, 1/8 and 1/16


class LeanNet(nn.Module):
    """Logits of K classes at half size, doubled; `width` channels at half size, up to six times as many at 1/16.

    Width 24 stays below a million parameters and half a GMAC at 224 pixels.
    """

    def __init__(self, *, channels: int, classes: int, width: int = 24) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 6 * width]
        self.stem = _convolution(channels, width, 3, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(finer, wide, 3, stride=2), *(_Block(wide, dilation) for dilation in dilations))
            for finer, wide, dilations in zip(widths, widths[1:], BLOCKS, strict=False)
        )
        self.surroundings = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[3], widths[3], 1), nn.Hardsigmoid())
        decoded = 3 * width // 2
        self.across = nn.ModuleList(_convolution(wide, decoded, 1) for wide in reversed(widths))
        self.merge = nn.ModuleList(_Block(decoded, 1) for _ in widths[1:])
        self.classify = nn.Conv2d(decoded, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The logits, no further heads, and the maps at 1/2, 1/4, 1/8, 1/16 and, decoded, at 1/2."""
        height, width = x.shape[-2:]
        x = padded(x, 16)
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        deepest, *finer = reversed(maps)
        decoded = self.across[0](deepest * self.surroundings(deepest))
        for across, merge, one in zip(self.across[1:], self.merge, finer, strict=True):
            decoded = merge(F.interpolate(decoded, scale_factor=2, mode="bilinear") + across(one))
        logits = F.interpolate(self.classify(decoded), scale_factor=2, mode="bilinear")[..., :height, :width]
        features = covering((*maps, decoded), size=(height, width), of=(x.shape[-2], x.shape[-1]))
        return Outputs(logits, {}, features)


class _Block(nn.Module):
    """Looks around per channel, then mixes the channels through twice as many; residual."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            _convolution(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
