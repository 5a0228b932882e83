"""MFF-Metal: three scales of dilated bottlenecks, each fused with all finer ones, and two gated heads.

Source: Lightweight metal surface defect segmentation based on multiscale feature fusion and knowledge distillation;
github.com/neulmc/MFF-Metal@a6de3d8, model.py. Changed: any size, K classes, logits instead of probabilities.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.contract import Outputs, adaptive_means, padded
from ml.spec import SpecError

DILATIONS = (  # of the two wider branches, per stage and block
    ((2, 3), (2, 3)),
    ((2, 3), (2, 3)),
    ((2, 3), (2, 3), (4, 6), (4, 6), (8, 12), (8, 12)),
)


class MFFMetal(nn.Module):
    """Logits of K classes; `width` channels at full size, twice, three and four times as many at 1/2, 1/4 and 1/8.

    Width 30 is the published student, 180 the teacher: 981,580 and 34,390,390 parameters (three channels, K = 4).
    """

    def __init__(self, *, channels: int, classes: int, width: int = 30) -> None:
        super().__init__()
        if width % 6:
            raise SpecError(f"network: expected a width of mff_metal that is a multiple of 6, got {width}")
        widths = [width * scale for scale in (1, 2, 3, 4)]
        self.stem = nn.Sequential(
            convolution(channels, width, 3),
            convolution(width, width, 3, dilation=2),
            convolution(width, width, 3, dilation=2),
        )
        self.down = nn.ModuleList(Down(*pair) for pair in pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Bottleneck(wide, (1, *pair)) for pair in dilations))
            for wide, dilations in zip(widths[1:], DILATIONS, strict=True)
        )
        self.fuse = nn.ModuleList(
            Fusion(wide, earlier=sum(widths[: stage + 2]), picture=channels) for stage, wide in enumerate(widths[1:])
        )
        self.coarse = ScaleHead(widths[2], widths[3], classes)
        self.fine = ScaleHead(widths[1], widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The logits, those of the heads `coarse` and `fine`, and the fused maps at 1/2, 1/4 and 1/8."""
        height, width = x.shape[-2:]
        fused = self._fused(padded(x, 8))
        heads, weights = self.scales(fused)
        logits = (heads * weights[..., None, None, None]).sum(dim=1)
        coarse, fine = heads[..., :height, :width].unbind(dim=1)
        return Outputs(logits[..., :height, :width], {"coarse": coarse, "fine": fine}, fused)

    def scales(self, fused: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits of both heads (N, 2, K, H, W), coarse first, and how much each counts: (N, 2), sums of one."""
        half, quarter, eighth = fused
        coarse, coarse_score = self.coarse(quarter, eighth)
        fine, fine_score = self.fine(half, quarter)
        heads = torch.stack([_enlarged(coarse, 4), _enlarged(fine, 2)], dim=1)
        return heads, torch.cat([coarse_score, fine_score], dim=1).softmax(dim=1)

    def _fused(self, picture: Tensor) -> tuple[Tensor, ...]:
        latest = self.stem(picture)
        fused, earlier = [], [latest]
        for down, blocks, fuse in zip(self.down, self.blocks, self.fuse, strict=True):
            entry = down(latest)
            picture = halved(picture)
            earlier = [halved(one) for one in earlier]
            latest = fuse(blocks(entry), picture, [entry, *earlier])
            earlier.insert(0, latest)
            fused.append(latest)
        return tuple(fused)


class Down(nn.Module):
    """Half the size: a strided convolution, beside a pooling where there are channels to add."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 2) -> None:
        super().__init__()
        self.pools = inputs < outputs
        made = outputs - inputs if self.pools else outputs
        self.convolve = nn.Conv2d(inputs, made, kernel, stride=2, padding=(kernel - 1) // 2, bias=False)
        self.normalise = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        halves = self.convolve(x)
        normalised: Tensor = self.normalise(torch.cat([halves, F.max_pool2d(x, 2)], dim=1) if self.pools else halves)
        return normalised


class Bottleneck(nn.Module):
    """Half the channels, shared out between depthwise convolutions of several dilations, and back; residual."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        half = channels // 2
        part = half // len(dilations)
        self.narrow = convolution(channels, half, 3)
        self.branches = nn.ModuleList(convolution(part, part, 3, dilation=one, groups=part) for one in dilations)
        self.widen = nn.Sequential(convolution(half, half, 3), nn.Conv2d(half, channels, 1, bias=False))
        self.normalise = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.narrow(x).chunk(len(self.branches), dim=1)
        seen = torch.cat([branch(part) for branch, part in zip(self.branches, parts, strict=True)], dim=1)
        result: Tensor = self.normalise(self.widen(seen) + x)
        return result


class PartitionAttention(nn.Module):
    """Every channel weighed in (0, 1) by its means over the quarters of the map and over the whole of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_quarters = nn.Conv2d(channels, channels, 2, groups=channels, bias=False)
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels // 8, bias=False),
            nn.PReLU(),
            nn.Linear(channels // 8, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        means = self.of_quarters(adaptive_means(x, 2)) + x.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        weighed: Tensor = x * self.weigh(means.flatten(1))[..., None, None]
        return weighed


class Fusion(nn.Module):
    """A stage's blocks, the picture and, weighed by channel, all that came earlier; together `wide` channels."""

    def __init__(self, wide: int, *, earlier: int, picture: int) -> None:
        super().__init__()
        self.attend = PartitionAttention(earlier)
        together = wide + picture + earlier
        self.merge = nn.Sequential(norm(together), nn.Conv2d(together, wide, 1, bias=False))

    def forward(self, block: Tensor, picture: Tensor, earlier: list[Tensor]) -> Tensor:
        merged: Tensor = self.merge(torch.cat([block, picture, self.attend(torch.cat(earlier, dim=1))], dim=1))
        return merged


class GatedHead(nn.Module):
    """Logits of a deeper map, enlarged to the size of a finer one and gated by what both show."""

    def __init__(self, finer: int, deeper: int, classes: int, *, mid: int = 16, deep: int) -> None:
        super().__init__()
        self.of_finer = nn.Conv2d(finer, mid, 1, bias=False)
        self.of_deeper = nn.Conv2d(deeper, deep, 1, bias=False)
        self.gate = _separable(mid + deep, classes)
        self.classify = _separable(deeper, classes)

    def both(self, finer: Tensor, deeper: Tensor) -> Tensor:
        """What both maps show, at the size of the finer one."""
        return torch.cat([self.of_finer(finer), _enlarged(self.of_deeper(deeper), 2)], dim=1)

    def gated(self, both: Tensor, deeper: Tensor) -> Tensor:
        """(N, K, H, W) logits at the size of `both`."""
        logits: Tensor = _enlarged(self.classify(deeper), 2) * self.gate(both).sigmoid()
        return logits


class ScaleHead(GatedHead):
    """A gated head that also says how much its scale should count in this picture."""

    def __init__(self, finer: int, deeper: int, classes: int) -> None:
        super().__init__(finer, deeper, classes, deep=24)
        self.score = nn.Conv2d(16 + 24, 1, 1, bias=False)

    def forward(self, finer: Tensor, deeper: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K, H, W) at the size of the finer map, and the score of the scale (N, 1)."""
        both = self.both(finer, deeper)
        return self.gated(both, deeper), self.score(both).mean(dim=(2, 3))


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation and a PReLU; the size stays, or is divided by `stride`."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation=dilation, groups=groups, bias=False),
        *norm(outputs),
    )


def norm(channels: int) -> nn.Sequential:
    """Batch normalisation and a PReLU with a slope per channel."""
    return nn.Sequential(nn.BatchNorm2d(channels, eps=1e-3), nn.PReLU(channels))


def halved(x: Tensor) -> Tensor:
    """Half the size by averaging, as in the paper: three by three pixels, zeros around the edge."""
    return F.avg_pool2d(x, 3, stride=2, padding=1)


def _separable(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(channels, channels, 3, groups=channels), nn.Conv2d(channels, outputs, 1, bias=False)
    )


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear")
