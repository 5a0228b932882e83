"""FastSegFormer: a light transformer encoder, a multi-scale head, and the picture itself at half size.

Source: Cai et al., FastSegFormer (2024); github.com/caixiongjiang/FastSegFormer@8f673e0, nets/FastSegFormer. Changed:
any size, where the published branch of the picture is 112 pixels and the attention of the E variant 224.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.contract import Outputs, covering, padded
from ml.networks.efficientformer import efficientformer
from ml.networks.encoders import timm_encoder

PICTURE = 32  # channels of the branch that carries the picture


@dataclass(frozen=True)
class Variant:
    """What differs between FastSegFormer-E and -P."""

    encoder: Callable[..., Any]
    name: str  # of the encoder in timm
    normalise: Callable[[int], nn.Module]  # of each of the encoder's maps
    narrowed: int  # channels of the deepest map before the bottlenecks
    bottlenecks: tuple[int, ...]  # channels of each
    wide: int  # channels of the decoder


VARIANTS = {
    "E": Variant(efficientformer, "efficientformerv2_s0", nn.BatchNorm2d, 128, (128, 128, 128, 160, 160, 160), 320),
    "P": Variant(timm_encoder, "poolformer_s12", lambda wide: nn.GroupNorm(1, wide), 256, (256, 256), 512),
}


class FastSegFormer(nn.Module):
    """Logits of K classes.

    5,013,044 (E) and 14,891,940 parameters (P) for three channels and K = 4, as published; that counts the
    normalisations of the maps at 1/4 and 1/16, which only a distillation looks at.
    """

    def __init__(self, *, channels: int, classes: int, variant: str) -> None:
        super().__init__()
        kind = VARIANTS[variant]
        self._kind, self._channels = kind, channels
        self.encoder = kind.encoder(kind.name, channels=channels)
        widths = self.encoder.feature_info.channels()
        self.normalise = nn.ModuleList(kind.normalise(wide) for wide in widths)
        self.deep = nn.Sequential(
            _convolution(widths[-1], kind.narrowed, 1),
            *map(_Bottleneck, (kind.narrowed, *kind.bottlenecks), kind.bottlenecks),
            _MultiScale(kind.bottlenecks[-1], kind.wide),
        )
        self.from_deep = nn.Sequential(*_depthwise(kind.wide), *_linear(kind.wide, kind.wide, bias=True))
        self.from_second = _linear(widths[1], kind.wide, bias=True)
        self.describe = nn.Sequential(
            _separable(kind.wide, kind.wide),
            _separable(kind.wide, kind.wide),
            nn.Dropout(0.1),
            nn.Conv2d(kind.wide, PICTURE, 1),
        )
        self.picture = nn.Sequential(nn.Conv2d(channels, PICTURE, 3, padding=1, bias=False), nn.BatchNorm2d(PICTURE))
        self.refine = _separable(PICTURE, PICTURE)
        self.classify = nn.Conv2d(PICTURE, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The logits, no further heads, and seven maps.

        They are the encoder's four, the multi-scale one, the fused one and the refined one at half size: each with its
        partner among `SwinAttentionUNet`'s.
        """
        height, width = x.shape[-2:]
        x = padded(x, 32)
        maps = [normalise(one) for normalise, one in zip(self.normalise, self.encoder(x), strict=True)]
        deep = self.deep(maps[-1])
        fused = F.relu(self.from_deep(_resized(deep, maps[1].shape[-2:])) + self.from_second(maps[1]))
        half = (x.shape[-2] // 2, x.shape[-1] // 2)
        refined = self.refine(_resized(self.describe(fused), half) + self.picture(_resized(x, half)))
        logits = self.classify(_resized(refined, (x.shape[-2], x.shape[-1])))[..., :height, :width]
        features = covering((*maps, deep, fused, refined), size=(height, width), of=(x.shape[-2], x.shape[-1]))
        return Outputs(logits, {}, features)

    def imagenet(self) -> Mapping[str, Tensor]:
        kind = self._kind
        weights: Mapping[str, Tensor] = kind.encoder(kind.name, channels=self._channels, pretrained=True).state_dict()
        return weights


class _Bottleneck(nn.Module):
    """Three times the channels and back, as in MobileNetV2; residual where the channels stay."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = inputs == outputs
        self.body = nn.Sequential(
            _convolution(inputs, 3 * inputs, 1), *_depthwise(3 * inputs), *_linear(3 * inputs, outputs, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        return x + result if self.residual else result


class _MultiScale(nn.Module):
    """A map seen through windows of 1, 3, 5 and 7 cells."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        part = inputs // 4
        self.windows = nn.ModuleList(
            nn.Sequential(_convolution(inputs, part, window), _convolution(part, part, 1)) for window in (1, 3, 5, 7)
        )
        self.merge = _convolution(inputs + 4 * part, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([x, *(window(x) for window in self.windows)], dim=1))
        return merged


def _resized(x: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _depthwise(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    )


def _linear(inputs: int, outputs: int, *, bias: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=bias), nn.BatchNorm2d(outputs))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_depthwise(inputs), *_convolution(inputs, outputs, 1))
