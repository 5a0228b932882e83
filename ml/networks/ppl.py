"""PPL's DeepLabV3+ on a ResNet.

Source: Chen et al., DeepLabV3+ (2018), as in github.com/Barcaaaa/Perturbed-Progressive-Learning@cb6fad6,
model/semseg/deeplabv3p.py and model/backbone/resnet.py.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.contract import Outputs
from ml.networks.encoders import timm_encoder


class DeepLabV3Plus(nn.Module):
    """Logits of K classes from the deepest map, seen at several dilations, and the first one.

    As published a ResNet-18 has stride 32 and a ResNet-50 stride 8, both with rates 12, 24 and 36: 13,001,124 and
    40,347,812 parameters (three channels, K = 4). At 200 pixels a stride of 32 leaves 7 x 7 cells, where no dilated
    tap but the centre ever meets the map; with stride 8 and rates 6, 12 and 18 all of them do.
    """

    def __init__(self, *, channels: int, classes: int, resnet: str, stride: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self._made: dict[str, Any] = {
            "name": resnet, "channels": channels, "output_stride": stride, "out_indices": (1, 2, 3, 4),
            "zero_init_last": False,
        }  # fmt: skip
        self.encoder = timm_encoder(**self._made)
        first, *_, deepest = self.encoder.feature_info.channels()
        between = deepest // 8
        self.surroundings = Surroundings(deepest, between, rates)
        self.reduce = _convolution(first, 48, 1)
        self.fuse = nn.Sequential(_convolution(between + 48, 256, 3), _convolution(256, 256, 3), nn.Dropout(0.1))
        self.classify = nn.Conv2d(256, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The logits, no further heads, and the encoder's four maps."""
        maps = self.encoder(x)
        around = _resized(self.surroundings(maps[-1]), maps[0])
        logits = self.classify(self.fuse(torch.cat([self.reduce(maps[0]), around], dim=1)))
        return Outputs(_resized(logits, x), {}, tuple(maps))

    def imagenet(self) -> Mapping[str, Tensor]:
        weights: Mapping[str, Tensor] = timm_encoder(**self._made, pretrained=True).state_dict()
        return weights


class Surroundings(nn.Module):
    """Atrous spatial pyramid pooling: a map seen at several dilations and as a whole."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.near = _convolution(inputs, outputs, 1)
        self.far = nn.ModuleList(_convolution(inputs, outputs, 3, dilation=rate) for rate in rates)
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), _convolution(inputs, outputs, 1))
        self.project = nn.Sequential(_convolution((2 + len(rates)) * outputs, outputs, 1), nn.Dropout2d(0.5))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole(x).expand(-1, -1, *x.shape[-2:])
        projected: Tensor = self.project(torch.cat([self.near(x), *(far(x) for far in self.far), whole], dim=1))
        return projected


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


def _convolution(inputs: int, outputs: int, kernel: int, *, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
