"""Swin-T-Att-UNet: FastSegFormer's teacher, an attention U-Net around a Swin transformer.

Source: Cai et al., FastSegFormer (2024); github.com/caixiongjiang/FastSegFormer@8f673e0, nets/UNet/swinTS_Att_Unet.py.
Changed: any size.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.attention_unet import AttentionGate, convolution, double_convolution, up_convolution
from ml.networks.contract import Outputs, covering, padded
from ml.networks.encoders import timm_encoder

# strict_img_size: windows and masks for whatever size comes.
MADE: dict[str, Any] = {"name": "swin_tiny_patch4_window7_224", "strict_img_size": False}


class SwinAttentionUNet(nn.Module):
    """Logits of K classes; 49,229,322 parameters for three channels and K = 4, as published."""

    def __init__(self, *, channels: int, classes: int) -> None:
        super().__init__()
        self._channels = channels
        self.encoder = timm_encoder(**MADE, channels=channels)
        swin = self.encoder.feature_info.channels()  # 96, 192, 384, 768 at 1/4 to 1/32
        widths = [64, 128, 256, 512, 1024]  # decoded at 1/2 to 1/16, and at the bottom
        skips = [64, *swin[:3]]
        reduced = [64, 128, *swin[:2]]  # channels of the gated skips
        self.normalise = nn.LayerNorm(swin[-1])
        self.shallow = nn.Sequential(nn.MaxPool2d(2), double_convolution(channels, 64))
        self.bottom = nn.Sequential(
            nn.Conv2d(swin[-1], widths[4], 3, padding=1, bias=False), nn.BatchNorm2d(widths[4]), nn.ReLU()
        )
        self.widen = nn.ModuleList(
            convolution(skip, wide, 1) if skip != wide else nn.Identity()
            for skip, wide in zip(skips, widths, strict=False)
        )
        self.up = nn.ModuleList(map(up_convolution, widths[1:], widths))
        self.gate = nn.ModuleList(AttentionGate(wide, wide // 2) for wide in widths[:4])
        self.reduce = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in zip(widths, reduced, strict=False))
        self.merge = nn.ModuleList(
            double_convolution(wide + less, wide) for wide, less in zip(widths, reduced, strict=False)
        )
        self.classify = nn.Conv2d(widths[0], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The logits, no further heads, and seven maps.

        They are Swin's four, the bottom one and the decoded ones at 1/8 and 1/2: each with its partner among
        `FastSegFormer`'s.
        """
        height, width = x.shape[-2:]
        x = padded(x, 32)
        *maps, deepest = self.encoder(x)  # (N, H, W, C)
        swin = [one.permute(0, 3, 1, 2) for one in (*maps, self.normalise(deepest))]
        bottom = self.bottom(swin[-1])
        skips = [self.shallow(x), *swin[:3]]
        decoded = [bottom]
        for level in (3, 2, 1, 0):
            risen = self.up[level](decoded[-1])
            skip = self.reduce[level](self.gate[level](self.widen[level](skips[level]), risen))
            decoded.append(self.merge[level](torch.cat([risen, skip], dim=1)))
        _, _, eighth, _, half = decoded
        logits = self.classify(F.interpolate(half, scale_factor=2, mode="bilinear"))[..., :height, :width]
        features = covering((*swin, bottom, eighth, half), size=(height, width), of=(x.shape[-2], x.shape[-1]))
        return Outputs(logits, {}, features)

    def imagenet(self) -> Mapping[str, Tensor]:
        weights: Mapping[str, Tensor] = timm_encoder(**MADE, channels=self._channels, pretrained=True).state_dict()
        return weights
