"""A compact U-Net: double convolutions with batch normalisation, four poolings, skip connections.

Source: Ronneberger et al., U-Net (2015). Changed: batch normalisation, same-size convolutions, a chosen width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STRIDE = 16  # four poolings


class UNet(nn.Module):
    """Logits of K classes per pixel; `width` channels at full size, doubled at each of four poolings.

    Width 16 has 1.94 million parameters, width 8 has 0.49 million (one input channel, four classes).
    """

    def __init__(self, *, channels: int, classes: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(map(_double_convolution, [channels, *widths[:-1]], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.merge = nn.ModuleList(_double_convolution(2 * w, w) for w in reversed(widths[:-1]))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % _STRIDE, 0, -height % _STRIDE), mode="replicate")
        skips = []
        for level, convolve in enumerate(self.down):
            x = convolve(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()  # the deepest level goes up, not across
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        logits: Tensor = self.classify(x)
        return logits[..., :height, :width]


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
