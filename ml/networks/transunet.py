"""TransUNet: a convolutional encoder, a transformer over its deepest map, a U-Net decoder; a row of MFF-Metal's table.

Source: Chen et al., TransUNet (2021), as in github.com/neulmc/MFF-Metal@a6de3d8, transunet.py and vit.py. Changed:
queries meet keys divided by the root of their length (there they are multiplied by it, vit.py line 21, and every
softmax is nearly one-hot); any size, by interpolating the learnt positions; logits instead of probabilities.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.attention_unet import double_convolution
from ml.networks.contract import padded

POSITIONS = 13  # rows and columns of the learnt grid: pictures of 200 pixels at 1/16


class TransUNet(nn.Module):
    """Logits of K classes; `width` channels at half size, 64 as published, eight times as many in the transformer."""

    def __init__(self, *, channels: int, classes: int, width: int = 64, blocks: int = 13) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 8, stride=2, padding=3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.down = nn.ModuleList(_Down(width * scale) for scale in (1, 2, 4))
        self.transform = _Transformer(8 * width, blocks)
        self.reduce = nn.Sequential(nn.Conv2d(8 * width, 4 * width, 3, padding=1), nn.BatchNorm2d(4 * width), nn.ReLU())
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.up = nn.ModuleList([
            double_convolution(8 * width, 2 * width),
            double_convolution(4 * width, width),
            double_convolution(2 * width, width // 2),
            double_convolution(width // 2, width // 8),
        ])  # fmt: skip
        self.classify = nn.Conv2d(width // 8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        height, width = x.shape[-2:]
        skips = [self.stem(padded(x, 16))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = self.reduce(self.transform(skips.pop()))
        for merge in self.up:
            x = self.enlarge(x)
            x = merge(torch.cat([skips.pop(), x], dim=1) if skips else x)
        logits: Tensor = self.classify(x)
        return logits[..., :height, :width]


class _Down(nn.Module):
    """Half the size, twice the channels, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.across = nn.Sequential(nn.Conv2d(channels, wide, 1, stride=2, bias=False), nn.BatchNorm2d(wide))
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 1, bias=False), nn.BatchNorm2d(wide),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.across(x))


class _Transformer(nn.Module):
    """The map as tokens, with one more that belongs to no place, through blocks that normalise last."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, channels)
        self.token = nn.Parameter(torch.randn(1, 1, channels))
        self.token_position = nn.Parameter(torch.rand(1, channels))
        self.positions = nn.Parameter(torch.rand(channels, POSITIONS, POSITIONS))
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.Sequential(*(_Block(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        positions = F.interpolate(self.positions[None], (height, width), mode="bilinear").flatten(2)  # (1, C, H*W)
        tokens = self.project(x.flatten(2).transpose(1, 2)) + positions.transpose(1, 2)  # (N, H*W, C)
        token = (self.token + self.token_position).expand(x.shape[0], -1, -1)
        tokens = self.blocks(self.drop(torch.cat([token, tokens], dim=1)))
        result: Tensor = tokens[:, 1:].transpose(1, 2).unflatten(2, (height, width))
        return result


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attend = _Attention(channels)
        self.normalise = nn.LayerNorm(channels)
        self.think = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * channels, channels)
        )
        self.normalise_again = nn.LayerNorm(channels)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalise(x + self.drop(self.attend(x)))
        result: Tensor = self.normalise_again(x + self.drop(self.think(x)))
        return result


class _Attention(nn.Module):
    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(channels, 3 * channels, bias=False)
        self.answer = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, C).  Returns the same shape; in between (N, heads, T, C / heads)."""
        query, key, value = self.ask(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        met = F.scaled_dot_product_attention(query, key, value)
        answer: Tensor = self.answer(met.transpose(1, 2).flatten(2))
        return answer
