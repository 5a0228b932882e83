"""timm's EfficientFormerV2 for maps of any size.

Source: Li et al., Rethinking Vision Transformers for MobileNet Size and Speed (2023). The learnt biases of its
attention belong to distances on the map of a 224-pixel picture; timm looks them up by position, so that other sizes
fail. Changed: they are looked up by distance, and farther ones count as the farthest learnt. At 224 pixels both agree.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ml.networks.encoders import timm_encoder


def efficientformer(name: str, *, channels: int, pretrained: bool = False) -> Any:
    """The maps at 1/4, 1/8, 1/16 and 1/32, as a list; height and width of the picture must be multiples of 32."""
    encoder = timm_encoder(name, channels=channels, pretrained=pretrained)
    for module in list(encoder.modules()):
        for child, attention in list(module.named_children()):
            if type(attention).__name__ == "Attention2d":
                setattr(module, child, _Attention(attention))
            elif type(attention).__name__ == "Attention2dDownsample":
                setattr(module, child, _DownAttention(attention))
    return encoder


class _AnySize(nn.Module):
    """What both kinds of attention share: timm's layers under timm's names, so that its weights fit."""

    q: nn.Module
    k: nn.Module
    v: nn.Module
    v_local: nn.Module
    act: nn.Module
    proj: nn.Module

    def __init__(self, learnt: Any) -> None:
        super().__init__()
        for name, layer in learnt.named_children():
            self.add_module(name, layer)
        self.attention_biases = learnt.attention_biases  # (heads, side * side), by distance down and across
        self.heads, self.scale, self.side = learnt.num_heads, learnt.scale, learnt.resolution[0]

    def tokens(self, x: Tensor) -> Tensor:
        """(N, heads, H*W, C/heads) of (N, C, H, W)."""
        return x.reshape(x.shape[0], self.heads, x.shape[1] // self.heads, -1).transpose(2, 3)

    def biases(self, asking: Tensor, asked: Tensor, *, stride: int = 1) -> Tensor:
        """(heads, H*W of asking, H*W of asked); a step on the asking map is `stride` steps on the asked one."""
        down, across = (
            (_places(asking, axis, stride)[:, None] - _places(asked, axis)[None]).abs().clamp(max=self.side - 1)
            for axis in (-2, -1)
        )
        distances = down[:, None, :, None] * self.side + across[None, :, None, :]
        biases: Tensor = self.attention_biases[:, distances.flatten(2).flatten(0, 1)]
        return biases


class _Attention(_AnySize):
    stride_conv: nn.Module  # these two in some places only
    upsample: nn.Module
    talking_head1: nn.Module
    talking_head2: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "stride_conv"):
            x = self.stride_conv(x)
        value = self.v(x)
        met = self.tokens(self.q(x)) @ self.tokens(self.k(x)).transpose(2, 3) * self.scale + self.biases(x, x)
        met = self.talking_head2(self.talking_head1(met).softmax(dim=-1))
        seen = (met @ self.tokens(value)).transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[-2:])
        seen = seen + self.v_local(value)
        result: Tensor = self.proj(self.act(self.upsample(seen) if hasattr(self, "upsample") else seen))
        return result


class _DownAttention(_AnySize):
    def forward(self, x: Tensor) -> Tensor:
        query, value = self.q(x), self.v(x)
        met = self.tokens(query) @ self.tokens(self.k(x)).transpose(2, 3) * self.scale
        met = (met + self.biases(query, x, stride=2)).softmax(dim=-1)
        seen = (met @ self.tokens(value)).transpose(2, 3).flatten(1, 2).unflatten(2, query.shape[-2:])
        result: Tensor = self.proj(self.act(seen + self.v_local(value)))
        return result


def _places(x: Tensor, axis: int, stride: int = 1) -> Tensor:
    return torch.arange(x.shape[axis], device=x.device) * stride
