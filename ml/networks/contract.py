"""What every network answers, and the one change of size that several of them need."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor


class Outputs(NamedTuple):
    """All that a network says of a picture; `forward` gives the logits alone."""

    logits: Tensor  # (N, K, H, W): what predictions are made of
    heads: dict[str, Tensor]  # further logits (N, K, H, W), to be trained or looked at beside them
    features: tuple[Tensor, ...]  # maps (N, C, h, w) on the way, in the order in which they arise


@runtime_checkable
class Detailed(Protocol):
    """A network that says more than its logits: its `forward(x)` is `outputs(x).logits`."""

    def outputs(self, x: Tensor) -> Outputs: ...


def padded(x: Tensor, multiple: int) -> Tensor:
    """Height and width up to a multiple, by repeating the last row and column."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def adaptive_means(x: Tensor, cells: int) -> Tensor:
    """Means over `cells` by `cells` parts of a map, which overlap where its size is no multiple: (N, C, cells, cells).

    What adaptive average pooling gives, in operations that every export knows for any size.
    """
    for _ in range(2):  # across, then down: what was averaged is stacked in front of the other axis
        length = x.shape[-1]
        parts = [x[..., part * length // cells : ((part + 1) * length + cells - 1) // cells] for part in range(cells)]
        x = torch.stack([part.mean(dim=-1) for part in parts], dim=-2)
    return x


def covering(features: tuple[Tensor, ...], *, size: tuple[int, int], of: tuple[int, int]) -> tuple[Tensor, ...]:
    """The parts of maps (N, C, h, w) of a padded picture, `of` pixels high and wide, that show its first `size`."""
    (height, width), (full_height, full_width) = size, of
    return tuple(
        one[..., : -(-height * one.shape[-2] // full_height), : -(-width * one.shape[-1] // full_width)]
        for one in features
    )
